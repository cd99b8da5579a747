"""Pieces of work as tasks of a Ray cluster. The one door to Ray, loaded when it is asked for.

A task's arguments are bytes. Its function travels as a name, which the node imports from its own
installation: no code, no object and no key of ours is pickled.
"""

from ddx.adapters.ray_cluster.cluster import RayCluster, RayWorkers

__all__ = ["RayCluster", "RayWorkers"]
