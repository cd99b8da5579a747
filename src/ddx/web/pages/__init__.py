"""The pages that people read: server-rendered, without any outside file."""

from __future__ import annotations

from fastapi import FastAPI

from ddx.web.pages import dashboard, home, layout, request
from ddx.web.state import Server


def add_pages(app: FastAPI, server: Server) -> layout.Pages:
    """Serve `/`, `/dashboard` and what the pages are made of; return what renders them."""
    pages = layout.Pages(server)
    app.include_router(layout.router())
    app.include_router(home.router(server, pages))
    app.include_router(dashboard.router(server, pages))
    app.include_router(request.router(server, pages))
    return pages
