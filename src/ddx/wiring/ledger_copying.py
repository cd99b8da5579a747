"""The ledger's copy in an artifact store, from settings."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ddx.adapters.parquet_ledger import files
from ddx.errors import DdxError
from ddx.settings import Settings

log = logging.getLogger("ddx")
_EVERY_S = 60.0
_JOIN_S = 10.0


class Copier:
    """Makes the copy hold what the ledger holds. Belongs to one thread."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.data / files.FOLDER
        self._uri = settings.ledger_uri
        self._known: set[str] | None = None
        self._change = -1

    def once(self) -> bool:
        """Copy what changed; return whether anything had. What goes wrong is logged."""
        from ddx.adapters.mlflow_runs import ledger_copy

        try:
            manifest = files.read(self._folder)
            if manifest.change == self._change:
                return False
            if self._known is None:
                self._known = ledger_copy.there(self._uri)
            ledger_copy.bring(self._folder, self._uri, set(manifest.files), self._known)
        except FileNotFoundError:
            self._known = None  # put together with others meanwhile: looked at again
            return True
        except DdxError as error:
            self._known = None
            extra = {"event": "no_ledger_copy", "error_code": error.code, "reason": str(error)}
            log.warning("the ledger's copy waits", extra=extra)
            return False
        self._known, self._change = set(manifest.files), manifest.change
        return True


@contextmanager
def copying(settings: Settings) -> Iterator[None]:
    """Keep the copy up in a thread of its own, where one is wanted."""
    if not settings.ledger_uri:
        yield
        return
    stop = threading.Event()

    def keep() -> None:
        copier = Copier(settings)
        while not stop.is_set():
            copier.once()
            stop.wait(_EVERY_S)

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=_JOIN_S)
