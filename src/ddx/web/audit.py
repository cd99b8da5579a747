"""`GET /audit`: who looked at which prediction, for auditors."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request, Response

from ddx import __version__
from ddx.core.access import Act, Look, Wanted, audit_event
from ddx.errors import InvalidRequest
from ddx.web import problems
from ddx.web.door import caller_of
from ddx.web.lookup import time_of
from ddx.web.openapi import content, query, refusals
from ddx.web.state import Server
from ddx.wiring import auditing

FHIR = "application/fhir+json"
MOST = 1_000
_USUAL = 100
_NAMES = ("prediction_id", "caller", "since", "until", "limit", "format")
_FORMATS = ("json", "fhir")


def router(server: Server) -> APIRouter:
    """Return the route."""
    routes = APIRouter(tags=["audit"])

    @routes.get(
        "/audit",
        operation_id="listLooks",
        summary="Who looked at what, newest first",
        openapi_extra={"parameters": _parameters()},
        responses={200: _answers(), **refusals(401, 403, 422, 429, 503)},
    )
    async def audit(request: Request) -> Response:
        """Return looks at the tenant's predictions and by its keys; this one is kept, too.

        With `format=fhir` they come as a Bundle of AuditEvents of HL7 FHIR R4.
        """
        caller = caller_of(request)
        wanted, limit, form = _wanted(request, caller.tenant)
        await server.note(caller, Act.AUDIT)
        found = await asyncio.to_thread(auditing.newest, server.settings, wanted, limit)
        document, kind = _document(found, form)
        return Response(
            json.dumps(document, ensure_ascii=False),
            media_type=kind,
            headers=problems.headers(200),
        )

    return routes


def look_form(look: Look) -> dict[str, Any]:
    """Return a look as it is sent."""
    return {
        "seq": look.seq,
        "at": look.at,
        "caller": look.caller,
        "act": look.act.value,
        "prediction_ids": list(look.ids),
        "about": look.about,
    }


def bundle(looks: list[Look]) -> dict[str, Any]:
    """Return looks as a FHIR R4 Bundle."""
    server = f"ddx {__version__}"
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": audit_event(one, server)} for one in looks],
    }


def _document(found: list[Look], form: str) -> tuple[dict[str, Any], str]:
    if form == "fhir":
        return bundle(found), FHIR
    return {"looks": [look_form(one) for one in found]}, "application/json"


def _wanted(request: Request, tenant: str | None) -> tuple[Wanted, int, str]:
    given = {name: value for name, value in request.query_params.items() if value}
    if not given.keys() <= set(_NAMES):
        raise InvalidRequest(f"There is no such filter; there are {', '.join(_NAMES)}.")
    limit, form = given.get("limit", str(_USUAL)), given.get("format", "json")
    if not (limit.isdecimal() and 1 <= int(limit[:9]) <= MOST):
        raise InvalidRequest(f"limit: must be a whole number from 1 to {MOST}", field="limit")
    if form not in _FORMATS:
        raise InvalidRequest(f"format: must be one of {', '.join(_FORMATS)}", field="format")
    wanted = Wanted(
        prediction_id=given.get("prediction_id"),
        caller=given.get("caller"),
        tenant=tenant,
        since=time_of("since", given.get("since")),
        until=time_of("until", given.get("until")),
    )
    return wanted, int(limit), form


def _answers() -> dict[str, Any]:
    found = content("The looks", "Looks")
    bundle = {"type": "object", "description": "A Bundle of AuditEvents of HL7 FHIR R4."}
    return {**found, "content": {**found["content"], FHIR: {"schema": bundle}}}


def _parameters() -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST, "default": _USUAL}
    time = {"type": "string", "format": "date-time"}
    return [
        query("prediction_id", "looks that showed this prediction"),
        query("caller", "looks of this caller"),
        query("since", "at this time or later, as `2026-01-31T08:00:00Z`", time),
        query("until", "before this time", time),
        query("limit", "how many at most", limit),
        query("format", "`json`, or `fhir` for AuditEvents", {"enum": list(_FORMATS)}),
    ]
