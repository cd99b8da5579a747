"""Bring finished predictions into MLflow: each exactly once, in order, whatever dies.

A journal's cursor moves over what is whole in MLflow. What is under way, in doubt or refused
has a note of its own, durable before the step that could be doubtful.
"""

from ddx.services.deliver.backlog import Undelivered, undelivered, waiting
from ddx.services.deliver.courier import Progress
from ddx.services.deliver.deliverer import Deliverer

__all__ = ["Deliverer", "Progress", "Undelivered", "undelivered", "waiting"]
