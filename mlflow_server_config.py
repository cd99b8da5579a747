"""Settings of the MLflow tracking server: plain Python, read by every `ddx` command.

Relative paths start at this file's folder. After a change, restart.
"""

# Where MLflow keeps runs. For production:
#   db_uri = "postgresql://user:password@localhost/mlflow_db"
#   db_uri = "mysql://user:password@localhost/mlflow_db"
db_uri = "sqlite:///mlflow_data/mlflow.db"

# Where MLflow keeps the files of runs. For production:
#   artifacts_path = "s3://your-bucket/mlflow-artifacts"
#   artifacts_path = "gs://your-bucket/mlflow-artifacts"
#   artifacts_path = "wasbs://your-container@your-account.blob.core.windows.net/mlflow-artifacts"
artifacts_path = "mlflow_data/artifacts"
