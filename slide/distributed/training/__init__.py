"""A fit by workers that each have a part of a network, over whatever transport carries their arrays.

Start with loop.py, the fit of one worker, and step.py, one block of it; shard.py is what a worker has. work.py is all
that a worker does: elastic.py where workers change, moving.py and files.py for the rows, ranking.py, walk.py, merge.py.
fit.py is the side of who asked for the fit.
"""
