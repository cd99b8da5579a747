"""Who looked at what: one line for each look, chained like the journal, without patient text.

A line's link is SHA-256 over the link before it and the line's other fields, as canonical JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

GENESIS = hashlib.sha256(b"ddx-access-1").hexdigest()
"""The link before the first line."""


class Act(StrEnum):
    """What was done."""

    READ = "read"
    """One prediction, or its page."""
    LIST = "list"
    """A page of predictions, without their cases."""
    OVERVIEW = "overview"
    """The dashboard: figures."""
    BATCH = "batch"
    """The answers to a batch, fetched by who sent it."""
    MLFLOW = "mlflow"
    """MLflow's pages, through this server."""
    EXPORT = "export"
    BACKUP = "backup"
    AUDIT = "audit"
    """This trail itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look. `seq` and `link` are given when it is kept."""

    at: str
    """ISO 8601 in UTC."""
    caller: str
    """The API key's id; `os:` and a user's name for a command."""
    act: Act
    ids: tuple[str, ...] = ()
    """The predictions that were shown."""
    tenant: str | None = None
    """Whose they are; None: of any tenant."""
    about: str = ""
    """Of `mlflow`: the path; of a command: its words, without values."""
    seq: int = 0
    link: str = ""

    def line(self) -> str:
        """Return it as it stands in the file."""
        return _json(asdict(self))

    def chained(self, seq: int, previous: str) -> Look:
        """Return it in its place."""
        placed = replace(self, seq=seq, link="")
        return replace(placed, link=placed.link_after(previous))

    def link_after(self, previous: str) -> str:
        """Return the link that it has after another."""
        values = asdict(replace(self, link=""))
        return hashlib.sha256(f"{previous}\n{_json(values)}".encode()).hexdigest()


def read(line: str) -> Look:
    """Read a line. Raises ValueError where it is none."""
    values = json.loads(line)
    known = {one.name for one in fields(Look)}
    if not isinstance(values, dict) or values.keys() - known:
        raise ValueError("not a line of the trail")
    return Look(**values | {"act": Act(values["act"]), "ids": tuple(values["ids"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which looks; None means any."""

    prediction_id: str | None = None
    caller: str | None = None
    tenant: str | None = None
    """Looks at its records."""
    since: datetime | None = None
    until: datetime | None = None

    def holds(self, look: Look) -> bool:
        """Say whether a look is among them."""
        at = datetime.fromisoformat(look.at)
        return (
            self.prediction_id in (None, *look.ids)
            and self.caller in (None, look.caller)
            and self.tenant in (None, look.tenant)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


def breaks(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield each place where the chain does not hold: the line's number, from 1, and why."""
    seq, link = 0, GENESIS
    for number, line in enumerate(lines, start=1):
        try:
            look = read(line)
        except (ValueError, TypeError, KeyError):
            yield number, "it is not a line of the trail"
            continue
        if look.seq != seq + 1:
            yield number, f"line {seq + 1} should be here, and line {look.seq} is"
        elif look.link != look.link_after(link):
            yield number, "the line, or its place in the order, was changed"
        seq, link = look.seq, look.link


def audit_event(look: Look, server: str) -> dict[str, Any]:
    """Return a look as an AuditEvent of HL7 FHIR R4."""
    restful = {
        Act.READ: ("read", "read"),
        Act.LIST: ("search-type", "search"),
        Act.OVERVIEW: ("search-type", "search"),
    }
    code, display = restful.get(look.act, ("operation", "operation"))
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": f"look-{look.seq}",
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
            "code": "rest",
            "display": "RESTful Operation",
        },
        "subtype": [
            {
                "system": "http://hl7.org/fhir/restful-interaction",
                "code": code,
                "display": display,
            }
        ],
        "action": "R" if look.act is Act.READ else "E",
        "recorded": look.at,
        "outcome": "0",
        "agent": [
            {
                "who": {"identifier": {"system": "urn:ddx:caller", "value": look.caller}},
                "requestor": True,
            }
        ],
        "source": {
            "observer": {"identifier": {"system": "urn:ddx:server", "value": server}},
            "type": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/security-source-type",
                    "code": "4",
                    "display": "Application Server",
                }
            ],
        },
    }
    if look.ids:
        event["entity"] = [
            {
                "what": {"identifier": {"system": "urn:ddx:prediction", "value": id}},
                "type": {
                    "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type",
                    "code": "2",
                    "display": "System Object",
                },
            }
            for id in look.ids
        ]
    return event


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
