"""Networks trained step by step under one harness: ours and PyTorch's, each in a process of its own.

`session.py` is the child's side of the harness, `start.py` the parent's. Libraries that train in one go
(the trees) are in `benchmarks/peers/`.
"""
