"""What counts as the truth, what as its group, and what never does."""

from __future__ import annotations

from ddx.core.caseset import Truth
from ddx.core.grading import Grade, Grader, How, Listed, Relations

TRUTH = Truth(name="Retinitis pigmentosa 26", ids=("OMIM:608380", "MONDO:26"))
RELATIONS = Relations(
    equivalents={"OMIM:608380": frozenset({"MONDO:26"}), "ORPHA:7": frozenset({"MONDO:7"})},
    parents={"MONDO:26": frozenset({"MONDO:0"}), "MONDO:261": frozenset({"MONDO:26"})},
    members={"MONDO:RP": frozenset({"MONDO:26", "MONDO:12"})},
)


def grader(**changes: object) -> Grader:
    return Grader(name_key=str.casefold, relations=RELATIONS, **changes)  # type: ignore[arg-type]


def how(truth: Truth, *listed: Listed) -> Grade:
    return grader().grade(truth, listed)


def test_an_equal_code_is_the_truth_whatever_the_name() -> None:
    assert how(TRUTH, Listed(name="x", ids=("OMIM:608380",))).how == How.CODE


def test_a_code_of_another_terminology_is_equal_through_mondo() -> None:
    truth = Truth(name="a", ids=("MONDO:7",))

    assert how(truth, Listed(name="b", ids=("ORPHA:7",))) == Grade(
        rank=1, rank_grouping=1, how=How.CODE
    )


def test_an_equal_name_with_another_code_of_the_same_terminology_is_another_disease() -> None:
    truth = Truth(name="Myopia 6", ids=("OMIM:1",))

    assert how(truth, Listed(name="Myopia 6", ids=("OMIM:2",))) == Grade()
    assert how(truth, Listed(name="Myopia 6", ids=("ORPHA:2",))).how == How.NAME
    assert how(truth, Listed(name="myopia 6")).how == How.NAME


def test_a_parent_a_child_and_the_series_are_its_group_and_a_sibling_is_not() -> None:
    for id in ("MONDO:0", "MONDO:261", "MONDO:RP"):
        assert how(TRUTH, Listed(name="x", ids=(id,))) == Grade(rank_grouping=1, how=How.GROUP), id
    assert how(TRUTH, Listed(name="x", ids=("MONDO:12",))) == Grade()


def test_the_group_and_the_truth_are_ranked_apart() -> None:
    listed = [Listed(name="RP", ids=("MONDO:RP",)), Listed(name="x", ids=("MONDO:26",))]

    assert how(TRUTH, *listed) == Grade(rank=2, rank_grouping=1, how=How.GROUP)


def test_a_class_of_icd_decides_only_where_the_truth_has_nothing_finer() -> None:
    coarse, fine = Truth(name="a", ids=("ICD10:K40",)), Truth(name="a", ids=("OMIM:1", "ICD10:K40"))
    same = Listed(name="b", ids=("ICD-10:K40",))

    assert how(coarse, same).how == How.CODE
    assert how(fine, same).rank is None
    assert how(coarse, Listed(name="b", ids=("ICD10:K40.9",))).how == How.GROUP


def test_a_truth_without_ids_is_grounded_by_its_name() -> None:
    known = grader(ground=lambda name: ["MONDO:7"] if name == "Seven" else [])

    assert known.grade(Truth(name="Seven"), [Listed(name="x", ids=("ORPHA:7",))]).how == How.CODE
    assert known.grade(Truth(name="Eight"), [Listed(name="x", ids=("ORPHA:7",))]) == Grade()


def test_a_truth_that_has_only_a_class_is_also_found_by_what_its_name_surely_means() -> None:
    truth = Truth(name="URTI", ids=("ICD10:J06.9",))
    grader = Grader(name_key=str.casefold, ground={"URTI": ("MONDO:9",)}.__getitem__)

    assert grader.grade(truth, [Listed(name="Common cold", ids=("MONDO:9",))]).how == How.CODE
    assert grader.grade(truth, [Listed(name="x", ids=("ICD10:J06.9",))]).how == How.CODE
    assert grader.grade(truth, [Listed(name="urti")]).how == How.NAME
