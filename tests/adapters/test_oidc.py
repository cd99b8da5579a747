"""An issuer's tokens against a real issuer over TLS: which are good, and how often it is asked."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st
from tests.oidc_issuer import AUDIENCE, Issuer, a_key, an_issuer, as_new, forged

from ddx.adapters.oidc import OidcIssuer, trusting
from ddx.adapters.oidc.issuer import ASK_S, FRESH_S, GOOD_S, LATE_S, LEEWAY_S
from ddx.adapters.oidc.published import LARGEST_BYTES
from ddx.core.callers import Role
from ddx.core.token_claims import ClaimRules
from ddx.errors import BadToken, IssuerUnavailable, SettingsError

DISCOVERY = "/realms/clinic/.well-known/openid-configuration"
CERTS = "/realms/clinic/certs"
ITSELF = "ITSELF"
RULES = ClaimRules(
    tenant_claim="tenant", roles_claim="realm_access.roles", roles_prefix="ddx-", running=3
)


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.at_s


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with an_issuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
def issuer(shared: Issuer) -> Iterator[Issuer]:
    with as_new(shared) as found:
        yield found


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def door(issuer: Issuer, clock: Hand) -> OidcIssuer:
    return made(issuer, clock)


def made(by: Issuer, clock: Hand, **more: Any) -> OidcIssuer:
    values: dict[str, Any] = {"issuer": by.url, "context": trusting(by.ca_file)} | more
    return OidcIssuer(audience=AUDIENCE, rules=RULES, clock=clock, **values)


def ask(door: OidcIssuer, token: str) -> Any:
    """Judge a token as services.callers does, but in one thread."""
    if door.lacks(token) or door.stale:
        with suppress(IssuerUnavailable):
            door.fetch()
    return door.caller(token)


# --- which are good ---------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "RS512", "ES256", "EdDSA"])
def test_a_token_signed_by_a_published_key_says_who_asks(
    door: OidcIssuer, issuer: Issuer, algorithm: str
) -> None:
    issuer.rotate(a_key("one", algorithm))
    found = ask(door, issuer.token())
    assert found.tenant == "north"
    assert found.roles == {Role.PREDICT}
    assert found.running == 3
    assert "c0ffee" not in found.id
    assert "Mary" not in found.id


def test_the_same_subject_is_the_same_caller_for_ever_and_another_is_another(
    door: OidcIssuer, issuer: Issuer
) -> None:
    first = ask(door, issuer.token())
    again = ask(door, issuer.token(issuer.keys[1], name="Jane Banks", exp=int(time.time()) + 9))
    other = ask(door, issuer.token(sub="c0ffee00-4712"))
    assert first.id == again.id
    assert first.id != other.id


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_a_token_may_say_that_it_is_an_access_token(
    door: OidcIssuer, issuer: Issuer, kind: str | None
) -> None:
    assert ask(door, issuer.token(headers={"typ": kind}))


def test_an_audience_may_be_one_of_several(door: OidcIssuer, issuer: Issuer) -> None:
    assert ask(door, issuer.token(aud=["account", AUDIENCE]))


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "another"}, "another audience"),
        ({"aud": [AUDIENCE + "2", "x"]}, "another audience"),
        ({"aud": None}, "lacks the claim aud"),
        ({"iss": "https://evil.example.org"}, "another issuer"),
        ({"iss": None}, "lacks the claim iss"),
        ({"exp": -LEEWAY_S - 5}, "has expired"),
        ({"exp": None}, "lacks the claim exp"),
        ({"nbf": LEEWAY_S + 60}, "not good yet"),
        ({"iat": LEEWAY_S + 60}, "not good yet"),
        ({"sub": None}, "lacks the claim sub"),
        ({"sub": ""}, "lacks the claim sub"),
        ({"sub": 4711}, "cannot be read"),
        ({"exp": "soon"}, "cannot be read"),
    ],
)
def test_a_token_whose_claims_are_not_good_is_refused_and_told_why(
    door: OidcIssuer, issuer: Issuer, claims: dict[str, Any], said: str
) -> None:
    now = int(time.time())
    moved: dict[str, Any] = {
        name: now + value if name in ("exp", "nbf", "iat") and isinstance(value, int) else value
        for name, value in claims.items()
    }
    with pytest.raises(BadToken, match=said):
        ask(door, issuer.token(**moved))


def test_a_clock_that_differs_by_some_seconds_does_no_harm(
    door: OidcIssuer, issuer: Issuer
) -> None:
    now = int(time.time())
    assert ask(door, issuer.token(exp=now - LEEWAY_S + 15))
    assert ask(door, issuer.token(nbf=now + LEEWAY_S - 15))


def test_what_is_not_signed_by_the_issuer_opens_nothing_and_asks_it_nothing(
    door: OidcIssuer, issuer: Issuer
) -> None:
    assert ask(door, issuer.token())
    asked = len(issuer.asked)
    key, claims = issuer.keys[0], issuer.claims()
    head = {"typ": "JWT", "kid": key.kid}
    pem, jwk = key.public_pem(), json.dumps(key.published()).encode()
    good = issuer.token()
    other = a_key("other")
    for token in (
        forged(head | {"alg": "none"}, claims),
        forged(head | {"alg": "None"}, claims),
        forged(head | {"alg": ""}, claims),
        forged({"kid": key.kid}, claims),
        forged(head | {"alg": ["RS256"]}, claims),
        forged(head | {"alg": "HS256"}, claims, pem),
        forged(head | {"alg": "HS256"}, claims, jwk),
        forged(head | {"alg": "HS256"}, claims, b""),
        forged(head | {"alg": "RS256"}, claims, pem),
        forged(head | {"alg": "RS256"}, claims),
        good[:-8] + "AAAAAAAA",
        ".".join([*good.split(".")[:2], issuer.token(sub="x").split(".")[2]]),
        # Another's key under a known name, or in the token itself.
        jwt.encode(claims, other.private, "RS256", {"kid": key.kid}),
        jwt.encode(claims, other.private, "RS256", {"kid": key.kid, "jwk": other.published()}),
        jwt.encode(claims, other.private, "RS256", {"kid": key.kid, "jku": "https://x.example"}),
        # Kinds that are no tokens for callers, and extensions that nobody here knows.
        issuer.token(headers={"typ": "logout+jwt"}),
        issuer.token(headers={"crit": ["x"], "x": 1}),
        jwt.encode(claims, key.private, "RS256"),
        "a.b.c",
        "..",
        issuer.token(padding="x" * 16_000),
    ):
        assert not door.lacks(token), token
        with pytest.raises(BadToken):
            door.caller(token)
    assert len(issuer.asked) == asked


def test_a_key_is_good_for_its_own_algorithm_alone(door: OidcIssuer, issuer: Issuer) -> None:
    key = issuer.keys[0]
    with pytest.raises(BadToken, match="does not publish"):
        ask(door, jwt.encode(issuer.claims(), key.private, "RS512", {"kid": key.kid}))


def test_a_short_rsa_key_is_no_key(door: OidcIssuer, issuer: Issuer) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from tests.oidc_issuer import Key

    issuer.rotate(Key("short", "RS256", rsa.generate_private_key(65537, 1024)))
    with pytest.raises(BadToken):
        ask(door, issuer.token())


def test_secrets_and_keys_for_encryption_are_no_keys_to_sign_with(
    door: OidcIssuer, issuer: Issuer
) -> None:
    key = issuer.keys[0]
    published = [
        {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "s", "alg": "HS256"},
        key.published() | {"use": "enc"},
        {"kty": "RSA"},
        "nothing",
    ]
    issuer.answers[CERTS] = (200, {}, json.dumps({"keys": published}).encode())
    with pytest.raises(IssuerUnavailable, match="no keys that are taken"):
        ask(door, issuer.token())


def test_what_has_not_a_tokens_form_is_of_another_kind(door: OidcIssuer) -> None:
    assert door.caller("abc") is None
    assert door.caller("a.b") is None
    assert not door.lacks("abc")


@tried(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_three_texts_are_refused_and_no_fault(
    door: OidcIssuer, head: str, body: str, end: str
) -> None:
    with suppress(BadToken, IssuerUnavailable):
        assert door.caller(f"{head}.{body}.{end}") is None


# --- how often the issuer is asked ------------------------------------------------------


def test_keys_are_fetched_once_and_again_when_they_grow_old(
    door: OidcIssuer, issuer: Issuer, clock: Hand
) -> None:
    for _ in range(5):
        ask(door, issuer.token())
    assert issuer.asked == [DISCOVERY, CERTS]
    clock.at_s += FRESH_S
    assert door.stale
    assert not door.lacks(issuer.token()), "a good token does not wait for it"
    ask(door, issuer.token())
    assert issuer.asked == [DISCOVERY, CERTS] * 2


def test_after_a_silence_the_keys_are_fetched_before_the_next_token_is_judged(
    door: OidcIssuer, issuer: Issuer, clock: Hand
) -> None:
    withdrawn = issuer.token()
    assert ask(door, withdrawn)
    issuer.rotate(a_key("new"))
    clock.at_s += LATE_S
    assert door.lacks(withdrawn)
    with pytest.raises(BadToken, match="does not publish"):
        ask(door, withdrawn)


def test_a_new_key_is_found_at_once_and_the_old_one_is_no_longer_good(
    door: OidcIssuer, issuer: Issuer, clock: Hand
) -> None:
    old = issuer.token()
    assert ask(door, old)
    issuer.rotate(a_key("ec-2", "ES256"))
    clock.at_s += ASK_S
    assert ask(door, issuer.token())
    with pytest.raises(BadToken, match="does not publish"):
        ask(door, old)


def test_a_flood_of_unknown_keys_does_not_become_a_flood_at_the_issuer(
    door: OidcIssuer, issuer: Issuer, clock: Hand
) -> None:
    assert ask(door, issuer.token())
    other = a_key("other")
    for number in range(100):
        clock.at_s += ASK_S / 20
        with pytest.raises(BadToken):
            ask(door, issuer.token(other, headers={"kid": f"made-up-{number}"}))
    assert issuer.asked.count(CERTS) <= 1 + 5
    assert ask(door, issuer.token()), "and good tokens pass meanwhile"


def test_nor_does_it_while_the_issuer_is_away(
    door: OidcIssuer, issuer: Issuer, clock: Hand
) -> None:
    issuer.away = True
    for _ in range(40):
        clock.at_s += ASK_S / 20
        with pytest.raises(IssuerUnavailable):
            ask(door, issuer.token())
    assert len(issuer.asked) <= 3


def test_while_the_issuer_is_away_known_keys_are_good_for_some_hours(
    door: OidcIssuer, issuer: Issuer, clock: Hand
) -> None:
    assert ask(door, issuer.token())
    began_s = clock.at_s
    issuer.away = True
    while clock.at_s < began_s + GOOD_S - 1800:
        clock.at_s += 1800
        assert ask(door, issuer.token())
        assert not door.lacks(issuer.token()), "nor does a good token wait for it"
    with pytest.raises(IssuerUnavailable, match="does not answer"):
        ask(door, issuer.token(a_key("new")))
    clock.at_s = began_s + GOOD_S
    with pytest.raises(IssuerUnavailable):
        ask(door, issuer.token())
    issuer.away = False
    clock.at_s += ASK_S
    assert ask(door, issuer.token())


# --- what the issuer may answer ---------------------------------------------------------


@pytest.mark.parametrize("path", [DISCOVERY, CERTS])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, {}, b""), "answers 500"),
        ((404, {}, b""), "answers 404"),
        ((200, {}, b"<html>"), "not JSON"),
        ((200, {}, b"\xff\xfe"), "not JSON"),
        ((200, {}, b"[" * 100_000), "not JSON"),
        ((200, {}, b"[]"), "not a JSON object"),
        ((200, {}, b" " * (LARGEST_BYTES + 1)), "too large"),
    ],
)
def test_an_answer_that_is_none_is_an_issuer_that_is_away(
    door: OidcIssuer, issuer: Issuer, path: str, answer: Any, said: str
) -> None:
    issuer.answers[path] = answer
    with pytest.raises(IssuerUnavailable, match=said):
        door.fetch()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [DISCOVERY, CERTS])
def test_no_redirect_is_followed(door: OidcIssuer, issuer: Issuer, path: str, status: int) -> None:
    issuer.answers[path] = (status, {"Location": f"{issuer.url}/certs"}, b"")
    with pytest.raises(IssuerUnavailable, match=f"answers {status}"):
        door.fetch()
    assert issuer.asked[-1] == path


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"issuer": "https://other.example.org"}, "another issuer"),
        ({}, "another issuer"),
        ({"issuer": ITSELF}, "no address of keys"),
        ({"issuer": ITSELF, "jwks_uri": "file:///etc/passwd"}, "no address of keys"),
        ({"issuer": ITSELF, "jwks_uri": "http://127.0.0.1/certs"}, "no address of keys"),
        ({"issuer": ITSELF, "jwks_uri": 5}, "no address of keys"),
    ],
)
def test_a_configuration_that_leads_elsewhere_is_not_followed(
    door: OidcIssuer, issuer: Issuer, described: dict[str, Any], said: str
) -> None:
    body = json.dumps(described).replace(ITSELF, issuer.url).encode()
    issuer.answers[DISCOVERY] = (200, {}, body)
    with pytest.raises(IssuerUnavailable, match=said):
        door.fetch()


def test_keys_of_no_use_are_an_issuer_that_is_away(door: OidcIssuer, issuer: Issuer) -> None:
    issuer.answers[CERTS] = (200, {}, b'{"keys": []}')
    with pytest.raises(IssuerUnavailable, match="publishes no keys"):
        door.fetch()


def test_an_issuer_that_answers_too_slowly_is_away(
    door: OidcIssuer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddx.adapters.oidc.published.TIMEOUT_S", 0.5)
    issuer.drips = True
    with pytest.raises(IssuerUnavailable, match="does not answer"):
        door.fetch()
    issuer.open.clear()
    with pytest.raises(IssuerUnavailable, match="does not answer"):
        door.fetch()


class Proxy(socketserver.StreamRequestHandler):
    """Takes CONNECT, notes for whom, and leads to the issuer that stands in `to`."""

    to = 0
    asked: list[str] = []  # noqa: RUF012

    def handle(self) -> None:
        self.asked.append(self.rfile.readline().decode().split()[1])
        while self.rfile.readline().strip():
            pass
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self.to)) as other:
            back = threading.Thread(target=self.copy, args=(other, self.connection))
            back.start()
            self.copy(self.connection, other)
            back.join()

    @staticmethod
    def copy(one: socket.socket, other: socket.socket) -> None:
        while part := one.recv(65536):
            other.sendall(part)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def test_a_proxy_that_the_environment_names_is_used(
    issuer: Issuer, clock: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"issuer.test:{issuer.server_port}"
    monkeypatch.setattr(issuer, "url", f"https://{place}/realms/clinic")
    monkeypatch.setattr(Proxy, "to", issuer.server_port)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.server_address[1]}")
        monkeypatch.delenv("https_proxy", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert ask(made(issuer, clock), issuer.token())
        proxy.shutdown()
    assert Proxy.asked == [place, place]


def test_only_the_named_authorities_are_trusted(
    issuer: Issuer, clock: Hand, tmp_path: Path
) -> None:
    stranger = made(issuer, clock, context=trusting(None))
    with pytest.raises(IssuerUnavailable, match="SSLCertVerificationError"):
        stranger.fetch()
    by_number = made(issuer, clock, issuer=issuer.url.replace("localhost", "127.0.0.1"))
    with pytest.raises(IssuerUnavailable, match="SSLCertVerificationError"):
        by_number.fetch()
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="oidc_ca_file"):
        trusting(tmp_path / "ca.pem")
