"""Benchmarks of slide and of what a user would pick instead.

This package measures; what it measures lives in `slide/` and in the peers' own packages. Importing it imports
nothing heavy, because adapters also run inside the peers' own environments. Read `README.md` beside this file first.
"""
