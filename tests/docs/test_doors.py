"""The settings that docs/doors.md shows for an issuer of tokens are taken as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ddx.core.callers import Role
from ddx.settings import load
from ddx.settings.oidc import claim_rules

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "doors.md").read_text()
EXAMPLES = [
    text
    for text in re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    if "oidc_issuer" in text
]


def test_keycloak_entra_and_google_each_have_an_example() -> None:
    assert [re.search(r'oidc_issuer = "https://([^/"]+)', one)[1] for one in EXAMPLES] == [  # type: ignore[index]
        "login.example.org",
        "login.microsoftonline.com",
        "accounts.google.com",
    ]


@pytest.mark.parametrize(
    ("example", "claims", "tenant", "roles"),
    [
        (0, {"ddx_tenant": "north", "realm_access": {"roles": ["ddx-read"]}}, "north", {Role.READ}),
        (1, {"roles": ["ddx.predict"], "tid": "x"}, "north", {Role.PREDICT}),
        (2, {"hd": "example.org"}, "north", {Role.PREDICT, Role.LABEL}),
    ],
)
def test_a_token_of_the_examples_issuer_gives_what_the_page_says(
    tmp_path: Path, example: int, claims: dict[str, object], tenant: str, roles: set[Role]
) -> None:
    (tmp_path / "ddx.toml").write_text(EXAMPLES[example])
    found = load({}, tmp_path)
    caller = claim_rules(found).caller(found.oidc_issuer, {"sub": "s"} | claims)
    assert caller.tenant == tenant
    assert caller.roles == roles


def test_the_times_that_the_page_says_are_the_ones_that_are_kept() -> None:
    issuer = pytest.importorskip("ddx.adapters.oidc.issuer", reason="needs the extra `oidc`")
    kept = (issuer.FRESH_S, issuer.LATE_S, issuer.GOOD_S, issuer.ASK_S, issuer.LEEWAY_S)
    assert kept == (5 * 60, 10 * 60, 6 * 3600, 10, 30)
    said = " ".join(PAGE.split())
    for words in (
        "fetched every five minutes",
        "refused after ten minutes at the latest",
        "good for six hours",
        "than every ten seconds",
        "with 30 seconds for clocks",
    ):
        assert words in said
