"""A deterministic simulator: several nodes of the real engine on a simulated database, network and clock.

One run is one seed: it decides on the faults, the calls, every delay, every crash. The same seed gives the same run to
the last message, so that a failure is a number. Real are the timeline, the recent log, the committer, transactions, the
runner, live queries and sessions; simulated are what they stand on, `MemoryStore` being the database.

Read `run.py` first, then `world.py` (what is simulated), `client.py` (what clients rely on) and `checking.py` (I1 to
I7). `model.py` and `app/` are the application. From the command line:
`python -m concave.testing.simulation --seeds 500`.

Not simulated: MongoDB's own replication and its driver (the store's contract is taken as kept; the conformance suite
checks that it is), sockets, and HTTP.
"""
