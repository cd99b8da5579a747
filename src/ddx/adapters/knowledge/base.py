"""One state of the knowledge: the engine over it, and the names that ground other engines."""

from __future__ import annotations

import threading
from pathlib import Path

from ddx.adapters.knowledge.engine import KnowledgeEngine
from ddx.adapters.knowledge.external import Shelf
from ddx.adapters.knowledge.grounding import Grounding


class KnowledgeBase:
    """What the program carries and what was added to it, loaded. Never changes: a new state
    is a new object.
    """

    def __init__(self, cache_dir: Path, shelf: Shelf | None = None) -> None:
        """Load the engine, or make it (seconds). Raises MissingExtra and BadKnowledge."""
        self.shelf = shelf
        self.engine = KnowledgeEngine.open(cache_dir, shelf)
        self._cache_dir = cache_dir
        self._lock = threading.Lock()
        self._grounding: Grounding | None = None

    @property
    def grounding(self) -> Grounding:
        """The names, loaded when they are first needed: only LLMs need them."""
        with self._lock:
            if self._grounding is None:
                self._grounding = Grounding.open(self._cache_dir, self.engine.index, self.shelf)
            return self._grounding

    @property
    def has_grounding(self) -> bool:
        """Whether the names were needed."""
        return self._grounding is not None
