"""DSPy, loaded once and only when it is needed, without a look at the network."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

_lock = threading.Lock()
_loaded: Library | None = None


class Library(NamedTuple):
    """The modules of this package that stand on DSPy."""

    program: ModuleType
    wire: ModuleType


def load() -> Library:
    """Return the modules that need DSPy; the first call takes about 2 s. Thread-safe."""
    global _loaded
    with _lock:
        if _loaded is None:
            _loaded = _load()
        return _loaded


def _load() -> Library:
    # Must be there before the import: DSPy fetches a table of models from the internet at first
    # use, LiteLLM at import; where there is no way out, that hangs. Both ship a copy.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

    import dspy

    # A cached answer would be another request's; the disk cache would keep patient text.
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)

    from ddx.adapters.dspy_engine import program, wire

    return Library(program, wire)


def optimizer() -> ModuleType:
    """Return the module of the optimisers; the first call takes seconds."""
    load()
    from ddx.adapters.dspy_engine import optimizer

    return optimizer
