"""Competitors, one adapter a file, run side by side by `python -m benchmarks.peers`.

An adapter names its environment in `PEERS` and does its work in `run(job)`, where alone it may import the
third party. `child.py` is all it needs to know of the harness; `registry.py` lists the adapters.
"""
