"""What a caller may have under way at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ddx.adapters.api_keys import NOBODY, ApiKeyFile, is_secret
from ddx.adapters.system import SystemClock
from ddx.core.callers import ApiKey, Caller, Role
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


def a_key(tenant: str, **more: Any) -> ApiKey:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    return ApiKey(id=f"{tenant}/k", roles=ASK, secrets=(NOBODY,), created_at=made, **more)


class Vouching:
    """An issuer that nobody asks here."""

    stale = False

    def caller(self, token: str) -> Caller | None:
        raise AssertionError(token)

    def lacks(self, token: str) -> bool:
        raise AssertionError(token)

    def fetch(self) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("keys", "issuer", "only"),
    [
        ([], None, None),
        ([a_key("north"), a_key("north")], None, "north"),
        ([a_key("north"), a_key("south")], None, None),
        ([a_key("north"), a_key("south", revoked_at=datetime(2026, 1, 2, tzinfo=UTC))], None, None),
        ([a_key("north")], Vouching(), None),
    ],
)
def test_a_tenant_is_the_only_one_where_every_key_ever_made_is_its(
    tmp_path: Path, keys: list[ApiKey], issuer: Vouching | None, only: str | None
) -> None:
    shelf = ApiKeyFile(tmp_path)
    door = Callers(
        keys=shelf, is_secret=is_secret, nobody=NOBODY, clock=SystemClock(), issuer=issuer
    )
    shelf.change(lambda _: [replace(key, id=f"{key.id}{n}") for n, key in enumerate(keys)])
    assert door.only_tenant == only
