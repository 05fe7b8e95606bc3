"""The sync protocol (spec/sync-protocol.md): message types, the session state machine, and its tie to the engine.

`messages.py` is the wire, `session_state.py` the rules without any I/O, `session.py` performs what the rules ask for.
The loop that owns the socket is in `concave.http.sync_socket`. Knows nothing of Starlette or ASGI.
"""
