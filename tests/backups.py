"""What the tests of backups share: records that a word of their own leads to, and a command."""

from __future__ import annotations

from collections.abc import Callable

from tests.make import a_prediction, a_request, finished

from ddx.core.record import Prediction

CANARY = "zebrawood-4402"
Cli = Callable[..., tuple[int, str, str]]


def told() -> Prediction:
    request = a_request(case=f"Fell from a {CANARY}.", tracker=f"visit {CANARY}")
    return finished(a_prediction(request=request), prompt_used=CANARY, raw_output=CANARY)
