"""Log lines: one JSON object each, an event with fields, never the case."""

from __future__ import annotations

import json
import logging
import sys
import threading
import warnings
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

request_fields: ContextVar[Mapping[str, str] | None] = ContextVar("request_fields", default=None)
"""What each line of a request says of it: `request_id`, and `traceparent` where one was sent."""
_OURS = frozenset({"ddx", "uvicorn"})
"""Whose words hold no patient text. What another library says may quote a case."""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "color_message"}
log = logging.getLogger("ddx")


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line.

        A traceback is cut to its kind, and what another library says to who says it and where:
        their text may quote a case.
        """
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        if record.name.partition(".")[0] in _OURS:
            line["message"] = record.getMessage()
            line |= {
                name: value
                for name, value in vars(record).items()
                if name not in _STANDARD and value is not None
            }
        else:
            line |= {"message": f"{record.name} says something", "where": [_place(record)]}
        line |= request_fields.get() or {}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["where"] = _where(record.exc_info[2])
        return json.dumps(line, default=str, ensure_ascii=False)


class _StandardError(logging.Handler):
    """Writes to what is standard error at that moment: it may have been replaced since."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def set_up(level: str) -> None:
    """Log to standard error, as JSON lines; what Python would print there is such a line too."""
    handler = _StandardError()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("httpx", "httpcore", "asyncio", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    warnings.showwarning = _on_warning
    threading.excepthook = _on_thread_fault
    sys.unraisablehook = _on_unraisable
    sys.excepthook = _on_fault


def _on_warning(
    message: Warning | str,  # noqa: ARG001  (it may quote a case)
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    extra = {"kind": category.__name__, "where": [f"{filename}:{lineno}"]}
    log.debug("a library warns", extra=extra)


def _on_thread_fault(fault: threading.ExceptHookArgs) -> None:
    _on_fault(fault.exc_type, fault.exc_value, fault.exc_traceback)


def _on_unraisable(fault: sys.UnraisableHookArgs) -> None:
    _on_fault(fault.exc_type, fault.exc_value, fault.exc_traceback)


def _on_fault(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    log.error("unforeseen fault", exc_info=(kind, error or BaseException(), trace))


def _place(record: logging.LogRecord) -> str:
    return f"{record.module}:{record.lineno}"


def _where(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        frame = trace.tb_frame
        places.append(f"{frame.f_globals.get('__name__')}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-8:]
