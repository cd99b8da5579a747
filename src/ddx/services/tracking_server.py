"""Judge what a tracking server that somebody else runs can do, and say it when it changes.

What breaks the promise is not ok: then nothing is delivered, and records wait in the journal.
What is merely less than MLflow can do is a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from ddx.ports import Check, Refusal, ServerFacts, Step

log = logging.getLogger("ddx")
NAMES = ("MLflow", "experiment", "search by tag", "artifacts", "traces", "erasure")
"""Of the checks, in order."""
_WAITS = " Delivery waits; every record is safe in the journal."
_LOGIN = {
    "Databricks": "Set DATABRICKS_HOST and a DATABRICKS_TOKEN that has not expired.",
    "Amazon SageMaker": "Give this process credentials of AWS that are valid now.",
    "Azure ML": "Sign in to Azure, by a managed identity or AZURE_CLIENT_ID and its secret.",
    "MLflow": "Set MLFLOW_TRACKING_USERNAME and _PASSWORD, or MLFLOW_TRACKING_TOKEN.",
}
_RIGHTS = {
    "Databricks": "A DATABRICKS_TOKEN that is wrong or has expired is told so, too. Else ask for"
    " CAN EDIT on the experiment, or on its folder while it is not there.",
    "Amazon SageMaker": "Allow the role the actions sagemaker-mlflow:* on this tracking server.",
    "Azure ML": "Ask for the role AzureML Data Scientist on the workspace.",
    "MLflow": "Ask its operator for EDIT on the experiment, and for the right to make it.",
}
_SAID = {
    "unreachable": "nothing answers",
    "untrusted": "its certificate is not trusted here",
    "unauthenticated": "it does not know us",
    "forbidden": "it knows us, and does not allow it",
    "absent": "it does not know this request",
    "missing": "there is no such thing",
    "invalid": "it finds it invalid",
    "limited": "it takes no more requests for now",
    "failed": "it failed",
}
_ADVICE = {
    "unreachable": "Start it, or correct tracking_uri.",
    "untrusted": "Name its authority's certificate in MLFLOW_TRACKING_SERVER_CERT_PATH.",
    "absent": "What answers there is no MLflow: correct tracking_uri.",
    "limited": "It goes on by itself; ask for a higher limit where it comes often.",
}
_DIRECT = ("s3:", "gs:", "wasb:", "wasbs:", "abfs:", "abfss:")
_KEEPS_FILES = ("dbfs:", "abfs:", "abfss:")
"""Kinds of places whose files MLflow's client cannot delete."""


def said(refused: Refusal) -> str:
    """Say a refusal in words, with its status and code.

    >>> said(Refusal(kind="unauthenticated", status=401))
    'it does not know us (401)'
    """
    marks = " ".join(str(one) for one in (refused.status, refused.code) if one)
    return _SAID[refused.kind] + (f" ({marks})" if marks else "")


def judge(shown: str, facts: ServerFacts) -> list[Check]:
    """Return a check for each ability; `shown` is the server's address without secrets."""
    if facts.refused is not None:
        return [_closed(shown, facts, facts.refused)]
    version = f"MLflow {facts.version}" if facts.version else "which says no version"
    checks = [
        Check(name="MLflow", ok=True, found=f"{shown}: {facts.service}, {version}"),
        _experiment(facts),
    ]
    if facts.experiment_id is not None:
        checks += [_search(facts), _artifacts(facts), _traces(facts), _erasure(facts)]
    return checks


def judge_trial(service: str, steps: Sequence[Step]) -> Check:
    """Judge a trial run."""
    failed = [step for step in steps if step.refused is not None]
    broken = [step for step in failed if step.did not in ("remove it", "delete the run")]
    done = ", ".join(step.did for step in steps if step.refused is None)
    left = ", ".join(f"{step.did}: {said(step.refused)}" for step in failed if step.refused)
    first = next((step.refused for step in broken), None)
    return Check(
        name="trial run",
        ok=not broken,
        found="; ".join(filter(None, (done, left))),
        advice=_advice(service, first) + _WAITS
        if first
        else "The trial's run or file stays there: remove it by hand.",
        warns=bool(failed) and not broken,
    )


class ServerWatch:
    """Says in the log what the server can do: at start, and again when that has changed."""

    def __init__(self, look: Callable[[], Sequence[Check]]) -> None:
        self._look = look
        self._last: Sequence[Check] = ()

    def tell(self) -> None:
        """Look, and say what is new. Never raises: delivery does not depend on it."""
        try:
            found = self._look()
        except Exception as error:  # a look that fails must not stop delivery
            log.warning("tracking server", extra={"event": "tracking_server", "look": repr(error)})
            return
        if found == self._last:
            return
        self._last = found
        level = logging.INFO
        if any(check.warns for check in found):
            level = logging.WARNING
        if not all(check.ok for check in found):
            level = logging.ERROR
        fields: dict[str, object] = {"event": "tracking_server"}
        for check in found:
            fields[check.name.lower().replace(" ", "_")] = check.found
        advice = [check.advice for check in found if not check.ok or check.warns]
        if advice:
            fields["advice"] = " ".join(advice)
        log.log(level, "tracking server", extra=fields)


# --- each ability -----------------------------------------------------------------------


def _advice(service: str, refused: Refusal) -> str:
    if refused.kind == "unauthenticated":
        return _LOGIN[service]
    if refused.kind == "forbidden":
        return _RIGHTS[service]
    return _ADVICE.get(refused.kind, "See its operator, and its log.")


def _closed(shown: str, facts: ServerFacts, refused: Refusal) -> Check:
    return Check(
        name="MLflow",
        ok=False,
        found=f"{shown}: {facts.service}: {said(refused)}",
        advice=_advice(facts.service, refused) + _WAITS,
    )


def _experiment(facts: ServerFacts) -> Check:
    if facts.experiment_refused is not None:
        advice = _advice(facts.service, facts.experiment_refused)
        if facts.experiment_refused.kind in ("invalid", "missing"):
            advice = "Set experiment_folder to a folder there that we may write, as /Shared/ddx."
        return Check(
            name="experiment",
            ok=False,
            found=f"{facts.experiment} cannot be made: {said(facts.experiment_refused)}",
            advice=advice + _WAITS,
        )
    if facts.experiment_id is None:
        return Check(
            name="experiment",
            ok=True,
            found=f"{facts.experiment} is not there yet: the first delivery makes it",
        )
    return Check(
        name="experiment", ok=True, found=f"{facts.experiment}, its id is {facts.experiment_id}"
    )


def _search(facts: ServerFacts) -> Check:
    if isinstance(facts.finds_tags, Refusal):
        return Check(
            name="search by tag",
            ok=False,
            found=said(facts.finds_tags),
            advice="Without it no run can be looked for, so none is made twice or lost." + _WAITS,
        )
    found = "one search for many" if facts.finds_patterns else "one search for each: no LIKE"
    return Check(
        name="search by tag",
        ok=True,
        found=found,
        advice="Looking for runs is slower: after a fault, `ddx verify`, a rebuild.",
        warns=not facts.finds_patterns,
    )


def _artifacts(facts: ServerFacts) -> Check:
    where = facts.artifact_location or ""
    scheme = where.partition(":")[0] + ":" if ":" in where else ""
    if scheme in ("mlflow-artifacts:", "http:", "https:"):
        return Check(name="artifacts", ok=True, found="through the server itself")
    if scheme == "dbfs:":
        return Check(name="artifacts", ok=True, found="by addresses that Databricks signs")
    if scheme in _DIRECT or scheme == "azureml:":
        return Check(
            name="artifacts",
            ok=True,
            found=f"straight into its store ({scheme}//)",
            advice="The deliverer needs credentials of that store: `ddx doctor --all` tries them.",
            warns=True,
        )
    return Check(
        name="artifacts",
        ok=False,
        found="a folder of the machine that writes, which is this one, not the server's",
        advice="Have it started with --artifacts-destination, and the experiment made anew."
        + _WAITS,
    )


def _traces(facts: ServerFacts) -> Check:
    parts = {"traces": facts.traces, "assessments": facts.assessments}
    shown = {True: "yes", False: "no", None: "not told"}
    return Check(
        name="traces",
        ok=True,
        found=", ".join(f"{name} {shown[there]}" for name, there in parts.items()),
        advice='Leave tracing = "off": traces are not kept there.',
        warns=not all(parts.values()),
    )


def _erasure(facts: ServerFacts) -> Check:
    keeps = (facts.artifact_location or "").startswith(_KEEPS_FILES)
    files = "files are emptied, not deleted" if keeps else "files are deleted"
    return Check(
        name="erasure",
        ok=True,
        found=f"{files}; a run keeps its params and metrics, and tags that say nothing",
        advice="`ddx erase` writes nothing over each file; its operator deletes them for good.",
        warns=keeps,
    )
