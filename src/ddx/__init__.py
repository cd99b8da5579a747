"""A differential-diagnosis server that keeps every request for ever in MLflow."""

__version__ = "0.1.0"
