"""The knowledge of this installation: what is in force, and how it changes."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ddx.core.record import Code, EngineAnswer, Request
from ddx.errors import BadKnowledge, DdxError
from ddx.settings import Settings

if TYPE_CHECKING:
    from ddx.adapters.knowledge import KnowledgeBase
    from ddx.adapters.knowledge.external import KnowledgeStore, Shelf

log = logging.getLogger("ddx.knowledge")
LOOK_EVERY_S = 2.0
"""How often a server looks for a change. A command makes the index before it is in force, so a
change is taken up within this and the second that loading takes."""


class CurrentKnowledge:
    """The knowledge in force in this process: an Engine and a Terminology that follow changes.

    What is being answered goes on with the state that it began with.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = store(settings)
        self._lock = threading.Lock()
        self._base: KnowledgeBase | None = None
        self._seen: str | None = None

    @property
    def ready(self) -> bool:
        """Whether it is loaded."""
        return self._base is not None

    def get(self) -> KnowledgeBase:
        """Return the state in force, loaded now where none is yet.

        Added files that do not read are left out, and said in the log.
        """
        with self._lock:
            if self._base is None:
                self._base = self._first()
            return self._base

    async def ask(self, request: Request, deadline_s: float) -> EngineAnswer:
        """Answer; see ports.Engine. Blocks for seconds where it is not loaded yet."""
        return await self.get().engine.ask(request, deadline_s)

    def codes(self, name: str) -> tuple[Code, ...]:
        """Return the codes of one disease; see ports.Terminology."""
        return self.get().grounding.codes(name)

    def look(self) -> bool:
        """Load what has come into force since the last look; say whether it changed.

        The old state answers meanwhile, and for good where the new one does not load.
        """
        try:
            token = self._store.token()
            if token == self._seen or not self.ready:
                return False
            self._seen = token
            loaded = load(self._settings, self._store.current())
            old = self.get()
            if old.has_grounding:
                _ = loaded.grounding
        except Exception as error:
            log.exception("added knowledge not taken up", exc_info=None, extra=_kind(error))
            return False
        with self._lock:
            self._base = loaded
        log.info("knowledge changed", extra={"event": "knowledge_changed", "digest": token})
        return True

    def follow(self, stopped: threading.Event) -> None:
        """Look again and again until `stopped`. For a thread of a server."""
        while not stopped.wait(LOOK_EVERY_S):
            self.look()

    def _first(self) -> KnowledgeBase:
        try:
            self._seen = self._store.token()
            return load(self._settings, self._store.current())
        except BadKnowledge as error:
            log.error("added knowledge left out", extra=_kind(error))  # noqa: TRY400
            return load(self._settings, None)


def store(settings: Settings) -> KnowledgeStore:
    """Return where added knowledge lies."""
    from ddx.adapters.knowledge.external import KnowledgeStore

    return KnowledgeStore(settings.data / "knowledge")


def load(settings: Settings, shelf: Shelf | None) -> KnowledgeBase:
    """Load one state, from the cache where it is there."""
    from ddx.adapters.knowledge import KnowledgeBase

    return KnowledgeBase(settings.data / "cache", shelf)


def in_force(settings: Settings) -> KnowledgeBase:
    """Return what a server started now would use. Raises BadKnowledge where it does not read."""
    return load(settings, store(settings).current())


def add(settings: Settings, folder: Path) -> KnowledgeBase:
    """Take the known files of a folder. Raises BadKnowledge, KnowledgeInUse."""
    return load(settings, store(settings).add(folder, ready=_make(settings)))


def remove(settings: Settings, names: Iterable[str]) -> KnowledgeBase:
    """Take added files out of force, all where none is named. Raises as `add` does."""
    return load(settings, store(settings).remove(names, ready=_make(settings)))


def update(settings: Settings, told: Callable[[str, int, int | None], None]) -> KnowledgeBase:
    """Fetch the official releases and take them. Raises KnowledgeUnreachable, BadKnowledge."""
    from ddx.adapters.knowledge.external import Addresses, fetch

    addresses = Addresses(mondo=settings.mondo_url, hpo=settings.hpo_url)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".update-", dir=settings.data) as name:
        versions = fetch(addresses, Path(name), told)
        shelf = store(settings).add(Path(name), versions, ready=_make(settings))
    return load(settings, shelf)


def _make(settings: Settings) -> Callable[[Shelf], object]:
    """Make index and names before they are in force: a server then only loads them."""
    return lambda shelf: load(settings, shelf).grounding


def _kind(error: Exception) -> dict[str, str]:
    code = error.code if isinstance(error, DdxError) else type(error).__name__
    return {"error": code}
