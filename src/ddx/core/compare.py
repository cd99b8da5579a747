"""What differs between the run that a record gives and the run that MLflow holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ddx.core.run_draft import RunDraft


class Fault(StrEnum):
    """Kinds of difference that `ddx verify` names."""

    MISSING = "missing run"
    DOUBLED = "doubled run"
    UNKNOWN = "run without a record"
    STATUS = "changed status"
    TIME = "changed time"
    PARAM = "changed param"
    METRIC = "changed metric"
    TAG = "changed tag"
    ARTIFACT = "changed artifact"
    CHAIN = "broken chain"
    PAYLOAD = "changed payload"
    TAIL = "cut tail"
    CHECKPOINT = "another journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference, without any content of a record."""

    fault: Fault
    where: str
    """A prediction id, or `journal main, event 17`."""
    what: str = ""
    """The name of what differs, as `llm_model` or `input_case.txt: missing`."""


def differences(expected: RunDraft, found: RunDraft) -> Iterator[Difference]:
    """Yield what differs; values are not told, for they can be patient data.

    Tags that are not ours (`ddx.*`) are people's own in MLflow's pages, and no difference.
    """
    where = expected.prediction_id
    if found.status != expected.status:
        yield Difference(
            fault=Fault.STATUS, where=where, what=f"{found.status}, not {expected.status}"
        )
    for name in ("start_ms", "end_ms"):
        if getattr(found, name) != getattr(expected, name):
            yield Difference(fault=Fault.TIME, where=where, what=name)
    ours = {name: value for name, value in found.tags.items() if name.startswith("ddx.")}
    for fault, wanted, got in (
        (Fault.PARAM, expected.params, found.params),
        (Fault.METRIC, expected.metrics, found.metrics),
        (Fault.TAG, expected.tags, ours),
        (Fault.ARTIFACT, expected.files, found.files),
    ):
        for what in _unequal(wanted, got):
            yield Difference(fault=fault, where=where, what=what)


def _unequal(wanted: Mapping[str, object], got: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*wanted, *got}):
        if name not in got:
            yield f"{name}: missing"
        elif name not in wanted:
            yield f"{name}: added"
        elif wanted[name] != got[name]:
            yield name
