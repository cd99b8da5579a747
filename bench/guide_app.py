"""The guide's design, as a baseline: a run per request through the MLflow client, in the handler.

Run by bench.overhead with uvicorn; the answer is the same fixed one as that of `instant`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import mlflow
from fastapi import Body, FastAPI

app = FastAPI()
ANSWER = {
    "status": "success",
    "data": {"result": [{"diagnosis": f"Fixed diagnosis {n}"} for n in range(1, 6)]},
}
mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
mlflow.set_experiment("guide")


@app.get("/readyz")
def readyz() -> dict[str, str]:
    return {"status": "ready"}


@app.post("/predict/v1")
def predict(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
    began = time.monotonic()
    with mlflow.start_run():
        mlflow.log_params(
            {
                "model_name": "instant",
                "case_length": len(body["case"]),
                "llm_model": "none",
                "llm_max_tokens": "none",
                "llm_temperature": "none",
                "llm_top_k": "none",
                "prompt_config_index": "none",
            }
        )
        mlflow.log_text(body["case"], "input_case.txt")
        mlflow.log_text("instant", "prompt_used.txt")
        mlflow.log_text("a fixed differential", "raw_dspy_output.txt")
        mlflow.log_text(str(ANSWER), "final_response.txt")
        mlflow.log_metric("success", 1)
        mlflow.log_metric("processing_time", time.monotonic() - began)
    return ANSWER
