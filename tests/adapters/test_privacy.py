"""What is masked in a case, what is missed, and that clinical text stays."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping

import pytest
from bench.privacy import KEPT, MARKED, lines, marks, measured
from hypothesis import given
from hypothesis import strategies as st

from ddx.adapters.privacy import PatternMasker
from ddx.adapters.privacy.numbers import checks
from ddx.core.masking import Personal, Place, masked
from ddx.errors import MissingExtra, SettingsError

pytest.importorskip("phonenumbers", reason="needs the extra `privacy`")
MASKER = PatternMasker(["IN"])
LEAST = {"aadhaar": 2, "address": 5, "birth_date": 6, "email": 3, "name": 25, "pan": 1}
LEAST |= {"phone": 9, "record_number": 10, "url": 2}
"""Of the marked places, masked whole: what docs/privacy.md says."""


@pytest.mark.parametrize(
    ("text", "said", "counts"),
    [
        (
            "Mr. Ramesh Kumar, 45/M, has had fever for 3 days. Ramesh denies cough.",
            "Mr. [NAME], 45/M, has had fever for 3 days. [NAME] denies cough.",
            {"name": 2},
        ),
        ("Call +91 98300 45678 or 080-2345 6789.", "Call [PHONE] or [PHONE].", {"phone": 2}),
        (
            "DOB: 12/03/1980, seen on 12/03/2024, age 44",
            "DOB: [BIRTH DATE], seen on 12/03/2024, age 44",
            {"birth_date": 1},
        ),
        ("Mail a.b@example.in, see", "Mail [EMAIL], see", {"email": 1}),
        ("At https://example.org/a?b=1.", "At [URL].", {"url": 1}),
        ("Aadhaar 2345 6789 0124", "Aadhaar [AADHAAR]", {"aadhaar": 1}),
        ("234567890124 and 234567890125", "[AADHAAR] and 234567890125", {"aadhaar": 1}),
        ("MRN KH-0045121 today", "MRN [RECORD NUMBER] today", {"record_number": 1}),
        ("Address: 12, Gandhi Road, Pune 411001.", "Address: [ADDRESS].", {"address": 1}),
        ("Mr Rao s/o Mohan Lal", "Mr [NAME] s/o [NAME]", {"name": 2}),
        ("Ms Wilson has Wilson disease.", "Ms [NAME] has Wilson disease.", {"name": 1}),
        ("Mr Kumar Fever since 2 days, fever high", None, {"name": 1}),
    ],
)
def test_what_identifies_a_person_is_masked(
    text: str, said: str | None, counts: Mapping[str, int]
) -> None:
    found, kinds = MASKER(text)
    assert said is None or found == said
    assert kinds == counts
    assert MASKER(found) == (found, {})


def test_of_the_marked_cases_as_much_is_masked_as_the_manual_says() -> None:
    found = measured(MASKER, lines(MARKED))
    assert {kind: found.masked[kind] for kind in LEAST} == LEAST
    assert found.there.keys() == LEAST.keys()
    assert found.lost == []


@pytest.mark.parametrize("line", lines(KEPT))
def test_clinical_text_without_anybody_stays_as_it_is(line: str) -> None:
    assert MASKER(line) == (line, {})


@pytest.mark.parametrize("line", lines(MARKED))
def test_a_masked_case_is_not_masked_again(line: str) -> None:
    once, _ = MASKER(marks(line)[0])
    assert MASKER(once) == (once, {})


@pytest.mark.parametrize(
    "text",
    [
        *("a@" * 25_000, "1 " * 25_000, "Mr A " * 10_000, "12 A " * 12_500, "name: " * 8_000),
        *("Address: " * 5_500, "-1" * 25_000, "X-" * 25_000, "MRN " * 12_500, "+91 " * 12_500),
        "House no 1, " * 4_000,
    ],
    ids=lambda text: text[:8],
)
def test_no_text_keeps_the_patterns_busy_for_long(text: str) -> None:
    started_s = time.process_time()
    MASKER(text)
    assert time.process_time() - started_s < 5.0


@given(st.text(max_size=300))
def test_any_text_can_be_masked(text: str) -> None:
    found, counts = MASKER(text)
    assert bool(counts) == (found != text)


@given(
    st.text(min_size=30, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(1, 8), st.sampled_from(Personal))),
)
def test_nothing_of_a_place_stays_however_places_overlap(
    text: str, found: list[tuple[int, int, Personal]]
) -> None:
    places = [Place(start, min(30, start + size), kind) for start, size, kind in found]
    hidden = {at for one in places for at in range(one.start, one.end)}
    said, counts = masked(text, places)
    bare = "".join(letter for at, letter in enumerate(text) if at not in hidden)
    labels = sum(len(Personal(kind).label) * times for kind, times in counts.items())
    assert len(said) == len(bare) + labels


@given(st.from_regex(r"[2-9]\d{10}", fullmatch=True))
def test_one_check_digit_fits_each_number(digits: str) -> None:
    assert sum(checks(digits + last) for last in "0123456789") == 1


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="INDIA"):
        PatternMasker(["INDIA"])


def test_without_the_library_there_is_no_masker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("ddx.adapters.privacy.masker.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="privacy"):
        PatternMasker(["IN"])
