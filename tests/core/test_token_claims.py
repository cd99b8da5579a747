"""Which tenant and roles a token's claims give, and what is said where they give none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddx.core.callers import TENANT, Role
from ddx.core.token_claims import ClaimRules, subject_name
from ddx.errors import ClaimMissing

ISSUER = "https://login.example.org"
PREDICT = frozenset({Role.PREDICT})
RULES = ClaimRules(tenant_claim="org.tenant", roles_claim="roles", roles_prefix="ddx-")


def roles(value: Any, rules: ClaimRules = RULES) -> set[Role]:
    claims = {"sub": "s", "org": {"tenant": "north"}, "roles": value}
    return set(rules.caller(ISSUER, claims).roles)


def tenant(value: Any, rules: ClaimRules = RULES) -> str:
    claims = {"sub": "s", "org": {"tenant": value}, "roles": ["ddx-read"]}
    return rules.caller(ISSUER, claims).id.partition("/")[0]


def test_roles_are_names_with_the_prefix_in_a_list_or_with_spaces_between() -> None:
    assert roles(["ddx-read", "ddx-label"]) == {Role.READ, Role.LABEL}
    assert roles("openid ddx-read ddx-label") == {Role.READ, Role.LABEL}
    assert roles(["ddx-read", 5, None, "ddx-", "ddx-nothing", "ddx-READ"]) == {Role.READ}


def test_a_role_of_another_program_is_none_here() -> None:
    with pytest.raises(ClaimMissing, match="its claim roles"):
        roles(["admin", "predict", "xddx-admin"])


@pytest.mark.parametrize("value", [None, [], "", {}, 5, True, {"ddx-admin": True}, [["ddx-admin"]]])
def test_a_claim_that_names_no_role_is_refused_or_gives_the_default(value: Any) -> None:
    with pytest.raises(ClaimMissing, match="roles"):
        roles(value)
    assert roles(value, replace(RULES, default_roles=PREDICT)) == PREDICT


def test_the_default_is_for_those_who_have_no_role_alone() -> None:
    assert roles(["ddx-read"], replace(RULES, default_roles=PREDICT)) == {Role.READ}


def test_a_name_of_ones_own_gives_its_roles_beside_the_prefix() -> None:
    named = replace(RULES, role_names={"Doctors of Ward 3": frozenset({Role.READ, Role.LABEL})})
    assert roles(["Doctors of Ward 3"], named) == {Role.READ, Role.LABEL}
    assert roles(["Doctors of Ward 3", "ddx-audit"], named) == {Role.READ, Role.LABEL, Role.AUDIT}


@pytest.mark.parametrize("value", ["north", ["north"], ["north", 5]])
def test_a_tenant_is_one_text(value: Any) -> None:
    assert tenant(value) == "north"


@pytest.mark.parametrize(
    "value",
    [
        *("", "North", "north/x", "north south", "-north", "n" * 41, "n\u00f6rth", "north\n"),
        *(None, ["north", "south"], [], {"north": 1}, 5, True),
    ],
)
def test_what_is_not_one_tenant_is_refused(value: Any) -> None:
    with pytest.raises(ClaimMissing, match=r"its claim org\.tenant") as refused:
        tenant(value)
    assert "north" not in str(refused.value).lower(), "what is in the token is not told"


def test_where_tenants_have_names_only_those_are_taken() -> None:
    named = replace(RULES, tenant_names={"example.org": "north"})
    assert tenant("example.org", named) == "north"
    for other in ("north", "example.com"):
        with pytest.raises(ClaimMissing):
            tenant(other, named)


def test_without_a_claim_for_it_all_are_of_one_tenant() -> None:
    alone = ClaimRules(tenant="clinic", default_roles=PREDICT)
    assert alone.caller(ISSUER, {"sub": "s", "tenant": "south"}).tenant == "clinic"


def test_an_admin_by_token_sees_every_tenant() -> None:
    claims = {"sub": "s", "org": {"tenant": "north"}, "roles": ["ddx-admin"]}
    assert RULES.caller(ISSUER, claims).tenant is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_subjects_are_two_callers_and_neither_can_be_read(one: str, other: str) -> None:
    assert (subject_name(ISSUER, one) == subject_name(ISSUER, other)) == (one == other)
    assert TENANT.fullmatch(subject_name(ISSUER, one))
    assert subject_name(ISSUER, one) != subject_name(ISSUER + "/", one)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["org", "roles", "org.tenant", "x"]), json_values))
def test_any_claims_make_a_caller_of_a_good_tenant_or_are_refused(claims: dict[str, Any]) -> None:
    try:
        found = RULES.caller(ISSUER, claims | {"sub": "s"})
    except ClaimMissing:
        return
    assert TENANT.fullmatch(found.id.partition("/")[0])
    assert found.roles
