"""How diagnoses move between two rankings of one case."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.make import a_prediction, finished

from ddx.core.moves import moves
from ddx.core.record import Answered, Code, Declined, Diagnosis, Failed, Likelihood
from ddx.core.replay import Change, replayed, side


def ranking(*names: str, **codes: str) -> Answered:
    return Answered(
        diagnoses=tuple(
            Diagnosis(
                name=name,
                likelihood=Likelihood.LOW,
                codes=(Code(system="MONDO", code=codes[name], display=""),)
                if name in codes
                else (),
            )
            for name in names
        )
    )


def said(before: Answered | Declined | Failed, after: Answered | Declined) -> dict[str, str]:
    return {one.name: one.said for one in moves(before, after, str.casefold)}


def test_each_diagnosis_of_both_rankings_has_its_move() -> None:
    found = said(ranking("Dengue", "Malaria", "Measles"), ranking("malaria", "Dengue", "Zika"))

    assert found == {"malaria": "up 1", "Dengue": "down 1", "Zika": "new", "Measles": "gone"}


def test_two_names_with_one_code_are_one_diagnosis() -> None:
    before = ranking("Enteric fever", "Dengue", **{"Enteric fever": "MONDO:0005619"})
    after = ranking("Typhoid", Typhoid="MONDO:0005619")

    assert said(before, after) == {"Typhoid": "same", "Dengue": "gone"}


def test_where_nothing_was_answered_all_is_new_or_gone() -> None:
    assert said(Failed(code="model_error", message="x"), ranking("A")) == {"A": "new"}
    assert said(ranking("A"), Declined(reason="too little")) == {"A": "gone"}


lists = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(lists, lists)
def test_every_entry_is_counted_once(before: list[str], after: list[str]) -> None:
    found = moves(ranking(*before), ranking(*after), str.casefold)

    assert sorted(m.before for m in found if m.before) == list(range(1, len(before) + 1))
    assert sorted(m.after for m in found if m.after) == list(range(1, len(after) + 1))


def test_a_replay_changes_what_it_names_and_leaves_the_tracker_behind() -> None:
    old = finished(a_prediction()).request
    new = Change(model="local", prompt=3, temperature=0.0).applied(old)

    assert (new.case, new.top_differential) == (old.case, old.top_differential)
    assert (new.model_name, new.prompt_version, new.temperature) == ("local", 3, 0.0)
    assert new.tracker is None
    assert Change().applied(old) == old


def test_a_side_tells_what_was_sent_and_what_it_took() -> None:
    found = side(finished())

    assert (found["llm"], found["temperature"], found["top_k"]) == ("openai/local", 0.7, 5)
    assert (found["cost_usd"], found["input_tokens"]) == (0.001, 100.0)
    assert [one["diagnosis"] for one in found["ranking"]] == ["Dengue fever", "Malaria"]
    assert replayed(finished(), finished(), str.casefold).same_first
