"""Kernels and single steps, held against what this machine can do at best. `suite.py` runs them all (`make bench`)."""
