"""The sync protocol: message types and the session state machine. Knows nothing of Starlette."""
