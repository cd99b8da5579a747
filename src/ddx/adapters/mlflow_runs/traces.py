"""Traces of MLflow, each linked to the run of its prediction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ddx.adapters.mlflow_runs.experiment import ensure, full_name
from ddx.adapters.mlflow_runs.library import connect, mlflow, tracing, translated
from ddx.core.assessing import Assessment
from ddx.core.record import PredictionId
from ddx.core.run_draft import EXPERIMENT
from ddx.core.tracing import Span, Trace, Value
from ddx.errors import DeliveryRefused

_PATH = "/v1/traces"
_HEADERS = {"Content-Type": "application/x-protobuf"}
_EXPERIMENT_HEADER = "x-mlflow-experiment-id"
_KEY = "ddx.feedback"
_SUMMARY = ("ddx.model_name", "ddx.outcome", "ddx.case_chars", "ddx.llm_attempts")


class MlflowTraces:
    """Traces over MLflow's own endpoint for OTLP. Not for several threads.

    MLflow takes the trace's id from ours, and a span that it knows is written again in its
    place: so nothing is doubled by sending twice.
    """

    name = "mlflow"
    linked = True

    def __init__(
        self,
        tracking_uri: str,
        artifacts_path: str | None,
        encode: Callable[[Sequence[Trace]], bytes],
        folder: str = "",
    ) -> None:
        """`tracking_uri` is a server's; the others as of ClientRuns. Loads MLflow's client,
        in seconds. Raises MissingExtra.
        """
        mlflow()
        self._uri, self._artifacts_path, self._encode = tracking_uri, artifacts_path, encode
        self._name = full_name(EXPERIMENT, folder)
        self._made: Any = None
        self._experiment_id = ""

    def send(self, traces: Sequence[Trace], run_ids: Mapping[PredictionId, str]) -> None:
        """Write them, and link each to its run; see ports.Traces."""
        try:
            with translated("writing traces"):
                self._write(traces)
            for trace in traces:
                run_id = run_ids.get(trace.prediction_id)
                if run_id is not None:
                    with translated("linking a trace"):
                        # Asked first by MLflow itself: a link that is there stays one link.
                        self._store.link_traces_to_run([f"tr-{trace.id}"], run_id)
        except DeliveryRefused:
            self._experiment_id = ""  # it may have been deleted: looked for again
            raise

    def assess(self, trace_id: str, said: Sequence[Assessment]) -> None:
        """Add what is not there yet; see ports.Traces."""
        with translated("adding assessments"):
            info = self._store.get_trace_info(f"tr-{trace_id}")
            there = {(one.metadata or {}).get(_KEY) for one in info.assessments}
            for one in said:
                if one.key not in there:
                    self._store.create_assessment(_assessment(f"tr-{trace_id}", one))

    def _write(self, traces: Sequence[Trace]) -> None:
        tools = tracing()
        response = tools.http_request(
            host_creds=self._store.get_host_creds(),
            endpoint=_PATH,
            method="POST",
            data=self._encode([_for_mlflow(trace) for trace in traces]),
            extra_headers={**_HEADERS, _EXPERIMENT_HEADER: self._experiment},
        )
        tools.verify_rest_response(response, _PATH)

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = connect(self._uri)
        return self._made

    @property
    def _store(self) -> Any:
        return self._client._tracking_client.store  # noqa: SLF001  (its only way to the address)

    @property
    def _experiment(self) -> str:
        if not self._experiment_id:
            self._experiment_id = ensure(self._client, self._artifacts_path, self._name).id
        return self._experiment_id


def _assessment(trace_id: str, one: Assessment) -> Any:
    entities, at_ms = mlflow().entities, round(one.at.timestamp() * 1000)
    made = {
        "name": one.name,
        "value": one.value,
        "source": entities.AssessmentSource("HUMAN", one.by),
        "trace_id": trace_id,
        "metadata": {_KEY: one.key} | ({"comment": one.comment} if one.comment else {}),
        "create_time_ms": at_ms,
        "last_update_time_ms": at_ms,
    }
    if one.expected:
        return entities.Expectation(**made)
    return entities.Feedback(**made, rationale=one.comment)


def _for_mlflow(trace: Trace) -> Trace:
    """Add what MLflow's pages show: inputs, outputs, kinds, cost, tags."""
    root, *others = trace.spans
    return replace(trace, spans=(_root(root), *map(_part, others)))


def _root(span: Span) -> Span:
    said = span.attributes
    case, reply = said.get("ddx.case"), said.get("ddx.reply")
    summary = {name.removeprefix("ddx."): said[name] for name in _SUMMARY if name in said}
    outcome = {"outcome": summary.pop("outcome", None), "status": said.get("ddx.status")}
    more: dict[str, Value] = {
        "mlflow.spanType": "CHAIN",
        "mlflow.spanInputs": _json(summary if case is None else {**summary, "case": case}),
        "mlflow.spanOutputs": _json(outcome) if reply is None else str(reply),
    }
    tags = {name: said[name] for name in ("ddx.prediction_id", "ddx.outcome", "ddx.model_name")}
    more |= {f"mlflow.traceTag.{name}": str(value) for name, value in tags.items()}
    return replace(span, attributes={**said, **more})


def _part(span: Span) -> Span:
    said = span.attributes
    if "gen_ai.operation.name" not in said:
        return replace(span, attributes={**said, "mlflow.spanType": "PARSER"})
    more: dict[str, Value] = {"mlflow.spanType": "CHAT_MODEL"}
    cost_usd = said.get("ddx.cost_usd")
    if cost_usd is not None:
        # Only the sum is known here; MLflow shows it as the total.
        more["mlflow.llm.cost"] = _json({"total_cost": cost_usd})
    return replace(span, attributes={**said, **more})


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
