"""Callers by tokens of an issuer, at the door of the whole server, beside API keys."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.oidc_issuer import AUDIENCE, Issuer, a_key, an_issuer, as_new, forged
from tests.web.conftest import ENVIRONMENT

from ddx import settings
from ddx.core.callers import Role
from ddx.web.api import create_app
from ddx.web.state import Server
from ddx.wiring import callers

CASE = {"case": "Fever for 3 days and a petechial rash.", "tracker": "visit-1"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with an_issuer(tmp_path_factory.mktemp("issuer")) as issuer:
        yield issuer


@pytest.fixture
def issuer(shared: Issuer) -> Iterator[Issuer]:
    with as_new(shared) as found:
        yield found


def environment(issuer: Issuer, **more: str) -> dict[str, str]:
    return {
        **ENVIRONMENT,
        "DDX_OIDC_ISSUER": issuer.url,
        "DDX_OIDC_AUDIENCE": AUDIENCE,
        "DDX_OIDC_CA_FILE": str(issuer.ca_file),
        "DDX_OIDC_ROLES_CLAIM": "realm_access.roles",
        "DDX_OIDC_TENANT_CLAIM": "tenant",
        **more,
    }


@pytest.fixture
def server(issuer: Issuer, tmp_path: Path) -> Server:
    return Server(settings.load(environment(issuer), home=tmp_path))


@pytest.fixture
def client(server: Server) -> Iterator[TestClient]:
    with TestClient(create_app(server), raise_server_exceptions=False) as client:
        yield client


def a_second_key(server: Server, *roles: Role, tenant: str = "north") -> dict[str, str]:
    token, _ = callers.create(
        server.settings,
        tenant=tenant,
        name="",
        roles=frozenset(roles),
        expires_at=None,
        rate_per_minute=0.0,
        running=0,
    )
    return {"Authorization": f"Bearer {token}"}


# --- who gets in ------------------------------------------------------------------------


def test_each_role_of_a_token_opens_what_a_keys_does(client: TestClient, issuer: Issuer) -> None:
    doors: list[tuple[str, str, Any, set[str]]] = [
        ("POST", "/predict/v1", CASE, {"predict"}),
        ("GET", "/predictions", None, {"read", "audit"}),
        ("GET", "/audit", None, {"audit"}),
        ("GET", "/metrics", None, {"monitor"}),
        ("GET", "/nothing/here", None, set()),
    ]
    for method, path, body, roles in doors:
        for role in Role:
            answer = client.request(method, path, json=body, headers=issuer.bearer(role.value))
            if role.value in roles or role is Role.ADMIN:
                assert answer.status_code not in (401, 403), (path, role)
            else:
                assert answer.status_code == 403, (path, role)


def test_an_issuer_closes_the_door_also_before_the_first_key(client: TestClient) -> None:
    refused = client.post("/predict/v1", json=CASE)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated")
    assert client.get("/healthz").status_code == 200


def test_a_bad_token_is_a_401_that_says_so_by_header_and_words(
    client: TestClient, issuer: Issuer
) -> None:
    key, claims = issuer.keys[0], issuer.claims()
    head = {"typ": "JWT", "kid": key.kid}
    now = int(time.time())
    for token, said in (
        (issuer.token(aud="another"), "another audience"),
        (issuer.token(iss="https://evil.example.org"), "another issuer"),
        (issuer.token(exp=now - 60), "expired"),
        (issuer.token(nbf=now + 600), "not good yet"),
        (issuer.token(a_key("unknown")), "does not publish"),
        (forged(head | {"alg": "none"}, claims), "a way that is not taken"),
        (forged(head | {"alg": "HS256"}, claims, key.public_pem()), "a way that is not taken"),
        ("a.b.c", "cannot be read"),
    ):
        refused = client.get("/predictions", headers={"Authorization": f"Bearer {token}"})
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthenticated"), said
        assert said in refused.json()["detail"]
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        assert "audience" in refused.json()["advice"]


def test_a_token_without_tenant_or_roles_is_a_403_that_names_the_claim_alone(
    client: TestClient, issuer: Issuer
) -> None:
    for headers, name in (
        (issuer.bearer("predict", tenant=None), "tenant"),
        (issuer.bearer("predict", tenant="St. Mary"), "tenant"),
        (issuer.bearer(), "realm_access.roles"),
        (issuer.bearer("superuser"), "realm_access.roles"),
    ):
        refused = client.post("/predict/v1", json=CASE, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert f"its claim {name} " in refused.json()["detail"]
        for word in ("Mary", "superuser", "c0ffee"):
            assert word not in refused.text
        assert "www-authenticate" not in refused.headers


def test_a_token_may_come_as_a_browsers_password(client: TestClient, issuer: Issuer) -> None:
    pair = base64.b64encode(f"x:{issuer.token()}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}"}
    assert client.post("/predict/v1", json=CASE, headers=headers).status_code == 200


def test_another_site_cannot_use_the_token_that_a_proxy_adds(
    client: TestClient, issuer: Issuer
) -> None:
    mine = issuer.bearer("predict")
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        headers = mine | {"Sec-Fetch-Site": site}
        assert client.post("/predict/v1", json=CASE, headers=headers).status_code == status


# --- who it is --------------------------------------------------------------------------


def test_a_later_token_of_the_same_person_is_the_same_caller(
    client: TestClient, issuer: Issuer, server: Server
) -> None:
    first = client.post("/predict/v1", json=CASE, headers=issuer.bearer("predict"))
    again = client.post("/predict/v1", json=CASE, headers=issuer.bearer("predict", jti="another"))
    other = client.post("/predict/v1", json=CASE, headers=issuer.bearer("predict", sub="else"))
    assert first.status_code == other.status_code == 200
    assert again.content == first.content, "its trackers stay its own"
    assert other.json()["prediction_id"] != first.json()["prediction_id"]
    kept = server.find(first.json()["prediction_id"])
    assert kept is not None
    # As docs/doors.md says that an auditor finds out who it was.
    digest = hashlib.sha256(f"{issuer.url}\nc0ffee00-4711".encode()).hexdigest()
    assert kept.caller == f"north/oidc-{digest[:32]}"


def test_a_look_by_token_stands_in_the_trail(
    client: TestClient, issuer: Issuer, server: Server
) -> None:
    reader = issuer.bearer("read", "audit", "predict")
    id = client.post("/predict/v1", json=CASE, headers=reader).json()["prediction_id"]
    assert client.get(f"/predictions/{id}", headers=reader).status_code == 200
    found = client.get("/audit", params={"prediction_id": id}, headers=reader).json()
    kept = server.find(id)
    assert kept is not None
    assert [one["caller"] for one in found["looks"]] == [kept.caller]


def test_keys_and_tokens_of_one_tenant_see_the_same_and_of_another_nothing(
    client: TestClient, issuer: Issuer, server: Server
) -> None:
    by_key = client.post(
        "/predict/v1", json=CASE, headers=a_second_key(server, Role.PREDICT)
    ).json()["prediction_id"]
    by_token = client.post("/predict/v1", json=CASE, headers=issuer.bearer("predict")).json()[
        "prediction_id"
    ]
    assert by_key != by_token, "a tracker is one caller's own"

    def listed(headers: dict[str, str]) -> set[str]:
        found = client.get("/predictions", headers=headers).json()["predictions"]
        return {one["prediction_id"] for one in found}

    north = (a_second_key(server, Role.READ), issuer.bearer("read"))
    south = (
        a_second_key(server, Role.READ, tenant="south"),
        issuer.bearer("read", tenant="south"),
    )
    for headers in north:
        assert listed(headers) == {by_key, by_token}
    never = by_key[:-4] + ("0000" if not by_key.endswith("0000") else "1111")
    for headers in south:
        assert listed(headers) == set()
        asked = [client.get(f"/predictions/{id}", headers=headers) for id in (by_key, never)]
        assert [one.status_code for one in asked] == [404, 404]
        assert asked[0].text.replace(by_key, "ID") == asked[1].text.replace(never, "ID")
    assert listed(issuer.bearer("admin", tenant="south")) == {by_key, by_token}


def test_a_caller_by_token_has_the_rate_of_the_settings(issuer: Issuer, tmp_path: Path) -> None:
    limited = environment(issuer, DDX_OIDC_RATE_PER_MINUTE="2")
    with TestClient(create_app(Server(settings.load(limited, home=tmp_path)))) as client:
        mine = issuer.bearer("read")
        statuses = [client.get("/predictions", headers=mine).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        other = issuer.bearer("read", sub="else")
        assert client.get("/predictions", headers=other).status_code == 200


# --- the issuer -------------------------------------------------------------------------


def test_a_new_key_is_taken_when_the_issuer_begins_to_sign_by_it(
    client: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = issuer.bearer("read")
    assert client.get("/predictions", headers=old).status_code == 200
    issuer.rotate(a_key("ec-2", "ES256"))
    new = issuer.bearer("read")
    refused = client.get("/predictions", headers=new)
    assert refused.status_code == 401, "the issuer was asked a moment ago"
    monkeypatch.setattr("ddx.adapters.oidc.issuer.ASK_S", 0.0)
    assert client.get("/predictions", headers=new).status_code == 200
    assert client.get("/predictions", headers=old).status_code == 401, "it was withdrawn"


def test_an_issuer_that_is_away_is_a_503_and_keys_of_ours_pass(
    client: TestClient, issuer: Issuer, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    issuer.away = True
    refused = client.get("/predictions", headers=issuer.bearer("read"))
    assert (refused.status_code, refused.json()["code"]) == (503, "issuer_unavailable")
    assert "ddx doctor --all" in refused.json()["advice"]
    assert int(refused.headers["retry-after"]) >= 1
    assert [one.levelname for one in caplog.records if one.message == "issuer not reached"] == [
        "WARNING"
    ]
    assert "www-authenticate" not in refused.headers
    mine = a_second_key(server, Role.READ)
    assert client.get("/predictions", headers=mine).status_code == 200


def test_an_issuer_that_goes_away_leaves_good_tokens_good(
    client: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = issuer.bearer("read")
    assert client.get("/predictions", headers=mine).status_code == 200
    issuer.away = True
    for name in ("FRESH_S", "ASK_S"):
        monkeypatch.setattr(f"ddx.adapters.oidc.issuer.{name}", 0.0)
    for _ in range(5):
        assert client.get("/predictions", headers=mine).status_code == 200
    unknown = {"Authorization": f"Bearer {issuer.token(a_key('unknown'))}"}
    assert client.get("/predictions", headers=unknown).status_code == 503
    expired = issuer.bearer("read", exp=int(time.time()) - 60)
    assert client.get("/predictions", headers=expired).status_code == 401
    monkeypatch.setattr("ddx.adapters.oidc.issuer.GOOD_S", 0.0)
    assert client.get("/predictions", headers=mine).status_code == 503


def test_many_first_tokens_at_once_ask_the_issuer_once_and_all_get_in(
    client: TestClient, issuer: Issuer
) -> None:
    issuer.open.clear()

    def asked(number: int) -> int:
        return client.get(
            "/predictions", headers=issuer.bearer("read", sub=str(number))
        ).status_code

    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(asked, number) for number in range(16)]
        time.sleep(0.3)
        issuer.open.set()
        assert [one.result() for one in answers] == [200] * 16
    assert len(issuer.asked) == 2


def test_good_tokens_do_not_wait_while_others_make_the_server_ask(
    client: TestClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = issuer.bearer("read")
    assert client.get("/predictions", headers=mine).status_code == 200
    monkeypatch.setattr("ddx.adapters.oidc.issuer.ASK_S", 0.0)
    monkeypatch.setattr("ddx.adapters.oidc.published.TIMEOUT_S", 60.0)
    issuer.open.clear()
    unknown = {"Authorization": f"Bearer {issuer.token(a_key('unknown'))}"}
    waiting = [
        threading.Thread(target=client.get, args=("/predictions",), kwargs={"headers": unknown})
        for _ in range(12)
    ]
    for one in waiting:
        one.start()
    while len(issuer.asked) < 3:
        time.sleep(0.01)
    for _ in range(3):
        assert client.get("/predictions", headers=mine).status_code == 200
    assert all(one.is_alive() for one in waiting), "they wait still, and nobody else does"
    issuer.open.set()
    for one in waiting:
        one.join()


def test_no_log_line_holds_a_token_or_what_is_in_it(
    client: TestClient, issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = issuer.token(), issuer.token(aud="another", sub="Mary Poppins")
    for token in (good, bad):
        client.post("/predict/v1", json=CASE, headers={"Authorization": f"Bearer {token}"})
    shown = caplog.text + "".join(str(vars(one)) for one in caplog.records)
    for part in (*good.split("."), *bad.split("."), "c0ffee00-4711", "Poppins"):
        assert part not in shown
