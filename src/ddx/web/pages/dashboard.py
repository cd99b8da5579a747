"""`/dashboard`: what the server did, how well, how fast and for how much."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from ddx.core.access import Act
from ddx.core.overview import Overview, compared, name_of
from ddx.core.report import FILTERS, By, Figures
from ddx.core.report_text import HEAD, cells, key, named
from ddx.errors import DdxError
from ddx.services.overview import Overviews
from ddx.web.door import caller_of
from ddx.web.pages.choosing import COMPARABLE, RANGES, Chosen, by_name, chosen
from ddx.web.pages.layout import Pages
from ddx.web.state import Server
from ddx.wiring import dashboard as wiring

_CHART_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A chart is an image: its colours stand in it."""


def router(server: Server, pages: Pages) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False)
    looks = _Looks(server)

    @routes.get("/dashboard")
    async def dashboard(request: Request) -> Response:
        """Return the page."""
        try:
            tenant = caller_of(request).tenant
            asked = chosen(request.query_params, datetime.now(UTC), tenant)
            found = await asyncio.to_thread(looks.look, asked)
            await server.note(caller_of(request), Act.OVERVIEW)
        except DdxError as error:
            return pages.refusal(request, error)
        return pages.page(request, "dashboard.html", **_shown(server, asked, found))

    @routes.get("/dashboard/charts/{name}.svg")
    async def chart(request: Request, name: str) -> Response:
        """Return a chart of the same look."""
        tenant = caller_of(request).tenant
        asked = chosen(request.query_params, datetime.now(UTC), tenant)
        found = await asyncio.to_thread(looks.look, asked)
        drawn = await asyncio.to_thread(wiring.chart, name, found, narrow=asked.narrow)
        if drawn is None:
            raise HTTPException(404)
        return Response(
            drawn,
            media_type="image/svg+xml",
            headers={
                "Content-Security-Policy": _CHART_POLICY,
                "Cache-Control": "private, max-age=60",
            },
        )

    return routes


class _Looks:
    """The ledger's answers, opened at the first look."""

    def __init__(self, server: Server) -> None:
        self._settings = server.settings

    @cached_property
    def _overviews(self) -> Overviews:
        return wiring.looks(self._settings)

    def look(self, asked: Chosen) -> Overview:
        """Return the look of an address. Raises MissingExtra, LedgerUnavailable."""
        return self._overviews.look(asked.question, asked.by)


def _shown(server: Server, asked: Chosen, found: Overview) -> dict[str, Any]:
    settings = [(name_of(one), one) for one in found.settings]
    # Disk and backlog are of all tenants together: no one of them sees the others' load.
    whole = asked.question.tenant is None
    first, second = _two(asked, [name for name, _ in settings])
    return {
        "asked": asked,
        "found": found,
        "ranges": {name: text for name, (text, _) in RANGES.items()},
        "filters": [(by.value, _label(by), found.choices.values.get(by, ())) for by in FILTERS],
        "comparable": [(by_name(by), ", ".join(_label(one) for one in by)) for by in COMPARABLE],
        "by": by_name(asked.by),
        "tiles": _tiles(found.all),
        "charts": wiring.CHARTS,
        "head": HEAD,
        "cells": cells,
        "key": key,
        "named": named,
        "label": _label,
        "settings": settings,
        "usd_per_thousand": _usd_per_thousand,
        "compared": (first, second),
        "differences": compared(found.settings, first, second),
        "checks": server.checks() if whole else (),
        "backlog": server.admission.backlog if whole else None,
        "until": datetime.now(UTC),
    }


def _two(asked: Chosen, names: Sequence[str]) -> tuple[str, str]:
    """Return the two groups to compare: those that the address names, else the first two."""
    first = asked.one if asked.one in names else next(iter(names), "")
    rest = [name for name in names if name != first]
    return first, asked.other if asked.other in rest else next(iter(rest), "")


def _tiles(found: Figures) -> list[tuple[str, str]]:
    rate, usd = found.success_rate, found.cost_usd
    per_thousand = _usd_per_thousand(found)
    unknown = f", {found.cost_unknown} of unknown cost" if found.cost_unknown else ""
    return [
        (f"{found.predictions:,}", "predictions"),
        ("–" if rate is None else f"{100 * rate:.1f} %", "success"),
        ("–" if found.p50_s is None else f"{found.p50_s:.3g} s", "median time"),
        ("–" if found.p95_s is None else f"{found.p95_s:.3g} s", "95 % within"),
        ("–" if usd is None else f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}", f"cost{unknown}"),
        (per_thousand, "cost per thousand"),
        (f"{found.accepted} of {found.rated}", "accepted by clinicians"),
        (f"{found.truth_first} of {found.truths}", "true diagnosis first, where told"),
    ]


def _usd_per_thousand(found: Figures) -> str:
    known = found.predictions - found.cost_unknown
    if found.cost_usd is None or not known:
        return "–"
    return f"${1000 * found.cost_usd / known:,.3f}"


def _label(by: By) -> str:
    return {By.LLM: "LLM", By.TOP_K: "top k", By.PROGRAM: "program"}.get(
        by, by.value.replace("_", " ")
    )
