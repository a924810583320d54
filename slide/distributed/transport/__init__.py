"""Who the workers are and what carries their arrays; it knows nothing of networks.

Start with group.py, what a fit needs of any transport: local.py, gloo.py, mpi.py are three. member.py is one worker's
place among those that come and go, membership.py who they are, agent.py and link.py the two ends of the socket between,
supervise.py the driver's loop. topology.py chooses the fastest sum over a network, trees.py does it.
"""
