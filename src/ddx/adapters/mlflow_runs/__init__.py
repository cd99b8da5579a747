"""The two doors into MLflow. Importing this loads none of MLflow: the first use of a door does."""

from ddx.adapters.mlflow_runs.bulk import BulkRuns
from ddx.adapters.mlflow_runs.client import ClientRuns

__all__ = ["BulkRuns", "ClientRuns"]
