"""What a caller may have under way at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddx.adapters.api_keys import NOBODY, ApiKeyFile, is_secret
from ddx.adapters.system import SystemClock
from ddx.core.callers import Caller, Role
from ddx.errors import TooManyRequests
from ddx.services.callers import Callers

ASK = frozenset({Role.PREDICT})


def test_requests_over_the_number_at_once_are_refused_until_one_ends(tmp_path: Path) -> None:
    door = Callers(
        keys=ApiKeyFile(tmp_path), is_secret=is_secret, nobody=NOBODY, clock=SystemClock()
    )
    mine = Caller(id="north/k1", roles=ASK, running=2)
    other = Caller(id="north/k2", roles=ASK, running=2)
    with door.inside(mine, ASK):
        with door.inside(mine, ASK):
            with pytest.raises(TooManyRequests), door.inside(mine, ASK):
                pass
            with door.inside(other, ASK):
                pass
        with door.inside(mine, ASK):
            pass
