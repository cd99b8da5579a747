"""Each likelihood ratio of an answer, computed once more from the files themselves."""

from __future__ import annotations

import math

import pytest
from tests.adapters.knowledge.by_hand import ByHand

from ddx.adapters.knowledge import KnowledgeEngine
from ddx.adapters.knowledge.pack import COMMON
from ddx.adapters.knowledge.sources import Sources
from ddx.core.record import Answered, Diagnosis, Findings, Request, Setting

MARFAN = Request(
    model_name="knowledge",
    setting=Setting.GENETICS,
    findings=Findings(
        # The third lies below what is described, the last is nowhere near it.
        present=("HP:0001083", "HP:0001166", "HP:0002616", "HP:0000768", "HP:0001945"),
        absent=("HP:0002650", "HP:0001250"),
    ),
)
MALARIA = Request(
    model_name="knowledge",
    case=(
        "A 30-year-old farmer with high fever, shaking chills, vomiting and headache for five "
        "days. The spleen is palpable and he is jaundiced. No sweating, no cough."
    ),
)


@pytest.fixture(scope="module")
def by_hand(engine: KnowledgeEngine) -> ByHand:
    files = Sources.installed()
    diseases = [{id for id, _ in one["codes"]} for one in engine._index.strings["diseases"]]
    return ByHand(files.obo, files.hpoa, COMMON, diseases)


def diagnoses(engine: KnowledgeEngine, request: Request) -> tuple[Diagnosis, ...]:
    outcome = engine.answer(request).outcome
    assert isinstance(outcome, Answered)
    return outcome.diagnoses


def ids_of(engine: KnowledgeEngine, name: str) -> set[str]:
    (one,) = [d for d in engine._index.strings["diseases"] if d["name"] == name]
    return {id for id, _ in one["codes"]}


@pytest.mark.parametrize(
    ("request_", "name", "least"),
    [(MARFAN, "Marfan syndrome", 5), (MALARIA, "Malaria", 6)],
    ids=["hpo", "pack"],
)
def test_each_likelihood_ratio_can_be_recomputed_from_the_files(
    engine: KnowledgeEngine, by_hand: ByHand, request_: Request, name: str, least: int
) -> None:
    (found,) = [one for one in diagnoses(engine, request_) if one.name == name]
    ids, setting = ids_of(engine, name), request_.setting.value
    assert len(found.supporting) + len(found.contradicting) >= least
    for item in found.supporting + found.contradicting:
        assert item.code is not None
        assert item.source
        said = by_hand.absent if item.finding.startswith("no ") else by_hand.present
        assert item.likelihood_ratio == pytest.approx(said(ids, item.code, setting), rel=0.01)


@pytest.mark.parametrize("request_", [MARFAN, MALARIA], ids=["hpo", "pack"])
def test_each_likelihood_ratio_follows_from_the_figures_beside_it(
    engine: KnowledgeEngine, request_: Request
) -> None:
    for found in diagnoses(engine, request_):
        for item in found.supporting + found.contradicting:
            basis = item.basis
            assert basis is not None
            share, usual = basis.share, basis.background
            if item.finding.startswith("no "):
                share, usual = 1 - min(0.95, share), 1 - min(0.95, usual)
            ratio = (share / usual) ** basis.weight if share else math.exp(-3.0)
            assert item.likelihood_ratio == pytest.approx(ratio, rel=0.01)
