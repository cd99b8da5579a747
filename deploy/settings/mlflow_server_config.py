"""Where MLflow keeps runs, from the environment: copy to /etc/ddx/mlflow_server_config.py.

MLflow's own server reads the same two variables, so that each store is named in one place, and a
password is in no file that is copied about.
"""

import os

db_uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
artifacts_path = os.environ["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
