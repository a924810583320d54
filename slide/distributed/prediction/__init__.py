"""Prediction by workers that each have a part of a model, from a folder that SlideClassifier.save_shards wrote.

part.py is what a worker has and answers, session.py how requests come to the workers, network.py the network that a
classifier asks instead of one here.
"""
