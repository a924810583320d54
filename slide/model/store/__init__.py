"""Where the rows of a last layer live that is larger than memory: in a file, with a cache in memory.

Before a window of samples is trained, or rows are scored, the rows that takes are fetched (engine.py), into places that
a map from rows to slots tells the C core (csrc/core/rows.h). rows.py is the cache, row_file.py where rows are in the
file, files.py the file itself, layer.py what Python reads, size.py how much of a budget is left for the cache, and
segments.py the files of checkpoints.
"""
