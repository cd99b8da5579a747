"""The ways into MLflow. Importing this loads none of MLflow: the first use of one does."""

from ddx.adapters.mlflow_runs.bulk import BulkRuns
from ddx.adapters.mlflow_runs.client import ClientRuns
from ddx.adapters.mlflow_runs.evaluation import EvaluationRun, keep_evaluation

__all__ = ["BulkRuns", "ClientRuns", "EvaluationRun", "keep_evaluation"]
