"""The ways into MLflow. Importing this loads none of MLflow: the first use of one does."""

from ddx.adapters.mlflow_runs.bulk import BulkRuns
from ddx.adapters.mlflow_runs.client import ClientRuns
from ddx.adapters.mlflow_runs.evaluation import EvaluationRun, keep_evaluation
from ddx.adapters.mlflow_runs.program import ProgramRun, keep_program
from ddx.adapters.mlflow_runs.sums import sums
from ddx.adapters.mlflow_runs.sweep import CELL_TAG, PARENT_TAG, SweepRun, SweepRuns
from ddx.adapters.mlflow_runs.traces import MlflowTraces

__all__ = [
    "CELL_TAG",
    "PARENT_TAG",
    "BulkRuns",
    "ClientRuns",
    "EvaluationRun",
    "MlflowTraces",
    "ProgramRun",
    "SweepRun",
    "SweepRuns",
    "keep_evaluation",
    "keep_program",
    "sums",
]
