"""Laws of the chain: every tampering is found."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ddx.core.chain import Break, ChainedEvent, Header, Kind, Walk, genesis, link

JOURNAL = "j1"


def a_chain(length: int) -> list[ChainedEvent]:
    events, previous = [], genesis(JOURNAL)
    for seq in range(1, length + 1):
        header = Header(
            journal_id=JOURNAL,
            seq=seq,
            kind=Kind.ACCEPTED,
            prediction_id=f"p{seq}",
            key_id=seq,
            written_at_us=seq,
            nonce=bytes(12),
        )
        ciphertext = bytes([seq % 256]) * seq
        previous = link(previous, header.encode(), ciphertext)
        events.append(ChainedEvent(header=header, ciphertext=ciphertext, link=previous))
    return events


def breaks(events: list[ChainedEvent]) -> list[Break]:
    walk = Walk(JOURNAL)
    return [found for event in events if (found := walk.step(event))]


@given(st.integers(1, 30))
def test_an_untouched_chain_holds(length: int) -> None:
    assert breaks(a_chain(length)) == []


@given(st.integers(2, 30), st.data())
def test_a_changed_event_is_found_at_its_place(length: int, data: st.DataObject) -> None:
    chain = a_chain(length)
    place = data.draw(st.integers(0, length - 1))
    event = chain[place]
    chain[place] = data.draw(
        st.sampled_from(
            [
                replace(event, ciphertext=event.ciphertext + b"x"),
                replace(event, header=replace(event.header, prediction_id="other")),
                replace(event, header=replace(event.header, kind=Kind.ERASED)),
                replace(event, header=replace(event.header, written_at_us=0)),
            ]
        )
    )
    assert [b.seq for b in breaks(chain)] == [place + 1]


@given(st.integers(3, 30), st.data())
def test_a_removed_event_is_found(length: int, data: st.DataObject) -> None:
    chain = a_chain(length)
    place = data.draw(st.integers(0, length - 2))
    del chain[place]
    assert breaks(chain)[0].why == f"events {place + 1} to {place + 1} are missing"


@given(st.integers(3, 30), st.data())
def test_two_events_that_changed_places_are_found(length: int, data: st.DataObject) -> None:
    chain = a_chain(length)
    place = data.draw(st.integers(0, length - 2))
    one, two = chain[place], chain[place + 1]
    chain[place] = replace(two, header=replace(two.header, seq=place + 1))
    chain[place + 1] = replace(one, header=replace(one.header, seq=place + 2))
    assert breaks(chain)


def test_another_journals_event_does_not_fit() -> None:
    other = [replace(e, header=replace(e.header, journal_id="j2")) for e in a_chain(1)]
    assert breaks(other)
