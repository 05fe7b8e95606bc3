"""Chaos: three real mongods, three real servers and official clients, with processes and links failing on purpose.

`python -m chaos` (`make chaos`) runs it. Read `run.py` first; then `faults.py` (what is done to the cluster),
`cluster.py` (what it is done to), `links.py` (how connections are cut), `workload.py` and `clients/` (who is to notice
nothing but delay), `invariants.py` (what must hold at the end).
"""
