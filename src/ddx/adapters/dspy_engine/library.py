"""DSPy, loaded on first use, with everything off that keeps patient text or asks a network."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any


@cache
def dspy() -> Any:
    """Import DSPy (about two seconds) and return it."""
    # LiteLLM, where anything imports it, would fetch a price list, and can hang offline.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy as library

    library.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    # Its warnings quote the model's text.
    logging.getLogger("dspy").setLevel(logging.CRITICAL)
    return library
