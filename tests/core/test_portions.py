"""Deliverers that look at the same things and never speak share journals out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ddx.core.portions import move

journals = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=2), st.booleans())


def settle(found: dict[str, bool], alive: int, held: list[set[str]]) -> list[set[str]]:
    """Let each of them move, one after the other, until nobody does."""
    for _ in range(len(found) + 2):
        for mine in held:
            now = move(found, mine, alive)
            mine -= set(now.give_back)
            free = sorted(found.keys() - set().union(*held))
            for works, most in ((True, now.most_busy), (False, now.most_idle)):
                room = most - sum(1 for one in mine if found[one] is works)
                mine |= set([one for one in free if found[one] is works][: max(0, room)])
    return held


@given(journals, st.integers(min_value=1, max_value=5))
def test_every_journal_has_one_deliverer_and_work_is_shared_evenly(
    found: dict[str, bool], alive: int
) -> None:
    held = settle(found, alive, [set() for _ in range(alive)])
    assert sorted(name for mine in held for name in mine) == sorted(found)
    busy = [sum(1 for one in mine if found[one]) for mine in held]
    assert max(busy) <= -(-sum(busy) // alive)


@given(journals, st.integers(min_value=1, max_value=5))
def test_one_that_comes_later_gets_its_share_of_the_work(
    found: dict[str, bool], alive: int
) -> None:
    held = settle(found, alive, [set(found), *(set[str]() for _ in range(alive - 1))])
    busy = [sum(1 for one in mine if found[one]) for mine in held]
    assert max(busy) <= -(-sum(busy) // alive)
    assert sorted(name for mine in held for name in mine) == sorted(found)


@given(journals, st.integers(min_value=1, max_value=5))
def test_who_holds_its_share_moves_nothing(found: dict[str, bool], alive: int) -> None:
    for mine in settle(found, alive, [set() for _ in range(alive)]):
        assert not move(found, mine, alive).give_back


def test_what_is_gone_is_given_back() -> None:
    assert move({}, ["a"], 1).give_back == ("a",)
