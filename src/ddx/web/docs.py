"""/docs without a network: the OpenAPI document as one page, with no script and no outside file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from fastapi import FastAPI, Response

from ddx.web.openapi import operations

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8886; margin-top: 2rem; padding-top: 1rem }
h2 code { font-size: 1.1em } .method { font-weight: 700; margin-right: .5em }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top;
padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8883 }
pre { overflow-x: auto; padding: .8rem; background: #8882; border-radius: 6px }
"""


def add_docs(app: FastAPI) -> None:
    """Serve /docs."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": _POLICY}
        return Response(page(app.openapi()), media_type="text/html", headers=headers)


def page(document: Mapping[str, Any]) -> str:
    """Return an OpenAPI document as HTML."""
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    parts = "".join(_section(document, *one) for one in operations(document))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style><main><h1>{title}</h1><p>{escape(info.get('description', ''))}"
        f' The same for programs: <a href="openapi.json">openapi.json</a>.</p>{parts}</main></html>'
    )


def _section(
    document: Mapping[str, Any], path: str, verb: str, operation: Mapping[str, Any]
) -> str:
    about = escape(operation.get("description") or operation.get("summary", ""))
    schema = _schema(document, operation)
    body = _fields(schema) + _example(path, schema) if schema else ""
    statuses = "".join(
        f"<tr><th scope=row>{status}</th><td>{escape(found.get('description', ''))}</td></tr>"
        for status, found in sorted(operation["responses"].items())
    )
    return (
        f'<section><h2><span class="method">{verb.upper()}</span><code>{escape(path)}</code></h2>'
        f"<p>{about}</p>{body}<h3>Answers</h3><table>{statuses}</table></section>"
    )


def _schema(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the form of an operation's body, with the one at its own place in the document."""
    content = operation.get("requestBody", {}).get("content", {})
    found: Mapping[str, Any] = content.get("application/json", {}).get("schema", {})
    name = str(found.get("$ref", "")).rpartition("/")[2]
    named: Mapping[str, Any] = document["components"]["schemas"].get(name, found)
    return named


def _fields(schema: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th scope=row><code>{escape(name)}</code></th><td>{escape(_kind(one))}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for name, one in schema.get("properties", {}).items()
    )
    return f"<h3>Body</h3><table>{rows}</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    """Say a type with its limits, as `text, at most 200 characters`."""
    ways = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return " or ".join(filter(None, map(_one_kind, ways)))


def _one_kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    said = {"string": "text", "array": "list", "integer": "whole number"}
    parts = [said.get(schema.get("type", ""), schema.get("type", ""))]
    limits = {"maxLength": "at most {} characters", "minimum": "from {}", "maximum": "to {}"}
    parts += [text.format(schema[key]) for key, text in limits.items() if key in schema]
    return ", ".join(filter(None, parts))


def _example(path: str, schema: Mapping[str, Any]) -> str:
    examples = schema.get("examples")
    if not examples:
        return ""
    body = escape(json.dumps(examples[0], indent=2, ensure_ascii=False))
    return (
        f"<h3>Example</h3><pre>POST {escape(path)}\nContent-Type: application/json\n\n{body}</pre>"
    )
