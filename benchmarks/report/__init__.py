"""Reads result files: one page of tables and plots (`make bench-report`), two results side by side (`compare.py`)."""
