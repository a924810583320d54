"""Questions that take many trainings or long ones, a command each: `python -m benchmarks.studies.NAME --help`."""
