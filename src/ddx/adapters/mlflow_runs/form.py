"""The form of a run that both doors give it, and how it is read back."""

from __future__ import annotations

from collections.abc import Mapping

from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft

ID_TAG = "ddx.prediction_id"
TWIN_TAG = "ddx.late_twin"
"""On a run that was discarded: restoring the experiment in MLflow's pages restores its runs."""
SOURCE = "ddx"
ARTIFACT_URI_LIMIT = 200
"""Characters of a run's artifact URI that MLflow's databases take; SQLite takes any."""


def all_tags(draft: RunDraft, user: str) -> dict[str, str]:
    """Return a run's tags, with those that MLflow's own client adds."""
    return {
        **draft.tags,
        "mlflow.runName": draft.prediction_id,
        "mlflow.user": user,
        "mlflow.source.name": SOURCE,
        "mlflow.source.type": "LOCAL",
    }


def note(id: PredictionId, pages: str) -> dict[str, str]:
    """Return the tag that MLflow shows as a run's description: a link to its page of ours.

    It is given once, to a new run: people may write there. Empty where `pages`, the address of our
    server, is.
    """
    link = f"[Case, prompt, answer and attempts]({pages}/dashboard/requests/{id})"
    return {"mlflow.note.content": link} if pages else {}


def metric_ms(draft: RunDraft) -> int:
    """Return the time of a run's metrics: its end, or its start where nobody saw the end."""
    return draft.start_ms if draft.end_ms is None else draft.end_ms


def found_draft(
    *,
    status: str,
    start_ms: int,
    end_ms: int | None,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    files: Mapping[str, str],
) -> RunDraft:
    """Return what MLflow holds, as a draft; MLflow's own tags are left out."""
    return RunDraft(
        prediction_id=PredictionId(tags.get(ID_TAG, "")),
        status=status,
        start_ms=start_ms,
        end_ms=end_ms,
        params=dict(params),
        metrics=dict(metrics),
        tags={name: value for name, value in tags.items() if not name.startswith("mlflow.")},
        files=dict(files),
    )
