"""Who gets in, to what, and what another tenant can find out: nothing."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.conftest import ENVIRONMENT

from ddx import settings
from ddx.adapters.api_keys import ApiKeyFile
from ddx.core.callers import Role
from ddx.errors import UnknownKey
from ddx.web.api import create_app
from ddx.web.door import roles_for
from ddx.web.openapi import operations
from ddx.web.state import Server
from ddx.wiring import callers

CASE = {"case": "Fever for 3 days and a petechial rash.", "tracker": "visit-1"}
Make = Callable[..., dict[str, str]]


@pytest.fixture
def key(server: Server) -> Make:
    """Make a key; return the headers that send it."""

    def make(*roles: Role, tenant: str = "north", **more: Any) -> dict[str, str]:
        wanted = {"name": "", "expires_at": None, "rate_per_minute": 0.0, "running": 0} | more
        token, made = callers.create(
            server.settings, tenant=tenant, roles=frozenset(roles or Role), **wanted
        )
        make.last = made.id  # type: ignore[attr-defined]
        return {"Authorization": f"Bearer {token}"}

    return make


def wait_for_the_next_look() -> None:
    time.sleep(1.05)


def test_without_a_key_ever_made_everyone_gets_in(client: TestClient) -> None:
    assert client.post("/predict/v1", json=CASE).status_code == 200
    assert client.get("/metrics").status_code == 200


def test_with_the_first_key_the_door_closes_within_a_second(client: TestClient, key: Make) -> None:
    assert client.post("/predict/v1", json=CASE).status_code == 200
    mine = key(Role.PREDICT)
    wait_for_the_next_look()
    refused = client.post("/predict/v1", json=CASE)
    assert refused.status_code == 401
    assert refused.json()["code"] == "unauthenticated"
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert "ddx keys create" in refused.json()["advice"]
    assert client.post("/predict/v1", json=CASE, headers=mine).status_code == 200


def test_a_door_that_was_closed_stays_closed_when_the_file_of_keys_goes(
    client: TestClient, key: Make, server: Server
) -> None:
    key(Role.PREDICT)
    assert client.post("/predict/v1", json=CASE).status_code == 401
    ApiKeyFile(server.settings.data).path.unlink()
    wait_for_the_next_look()
    assert client.post("/predict/v1", json=CASE).status_code == 401


def test_a_damaged_file_of_keys_lets_nobody_in(
    client: TestClient, key: Make, server: Server
) -> None:
    mine = key()
    path = ApiKeyFile(server.settings.data).path
    path.write_text("{")
    answer = client.post("/predict/v1", json=CASE, headers=mine)
    assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")


def test_the_setting_closes_the_door_before_the_first_key(tmp_path: Path) -> None:
    closed = Server(settings.load({**ENVIRONMENT, "DDX_REQUIRE_API_KEYS": "1"}, home=tmp_path))
    with TestClient(create_app(closed)) as client:
        assert client.post("/predict/v1", json=CASE).status_code == 401
        assert client.get("/readyz").status_code in (200, 503)


@pytest.mark.parametrize(
    "path", ["/healthz", "/health-status", "/readyz", "/docs", "/openapi.json"]
)
def test_probes_and_documents_need_no_key(client: TestClient, key: Make, path: str) -> None:
    key(Role.PREDICT)
    assert client.get(path).status_code in (200, 503)
    assert client.get(path).status_code != 401


def test_a_key_comes_as_bearer_as_basic_password_or_in_its_own_header(
    client: TestClient, key: Make
) -> None:
    token = key(Role.READ)["Authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"anyone:{token}".encode()).decode()
    for headers in (
        {"Authorization": f"bearer {token}"},
        {"Authorization": f"Basic {basic}"},
        {"X-API-Key": token},
    ):
        assert client.get("/predictions", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer ddx_aaaaaaaaaaaa_" + "A" * 43},
        {"Authorization": "Bearer \u00e9\u00e9".encode("latin-1")},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"admin:admin").decode()},
        {"Authorization": "Basic " + base64.b64encode(b"\xff:\xff").decode()},
        {"Authorization": "Digest username=admin"},
        {"X-API-Key": ""},
        {"X-API-Key": "x" * 5000},
        {"Cookie": "session=admin"},
    ],
)
def test_what_is_no_key_of_ours_is_refused(
    client: TestClient, key: Make, headers: dict[str, Any]
) -> None:
    key()
    assert client.post("/predict/v1", json=CASE, headers=headers).status_code == 401


def test_a_key_with_another_secret_is_refused(client: TestClient, key: Make) -> None:
    mine = key(Role.READ)["Authorization"]
    assert client.get("/predictions", headers={"Authorization": mine}).status_code == 200
    other = mine[:-6] + ("AAAAAA" if not mine.endswith("AAAAAA") else "BBBBBB")
    assert client.get("/predictions", headers={"Authorization": other}).status_code == 401


def test_an_unknown_key_takes_as_long_as_a_wrong_secret(client: TestClient, key: Make) -> None:
    mine = key(Role.READ)["Authorization"]

    def took_s(token: str) -> float:
        began = time.perf_counter()
        assert client.get("/predictions", headers={"Authorization": token}).status_code == 401
        return time.perf_counter() - began

    wrong = [took_s(f"{mine[:-6]}AAAA{n:02d}") for n in range(7)]
    unknown = [took_s(f"Bearer ddx_aaaaaaaaaaaa_{'A' * 41}{n:02d}") for n in range(7)]
    # Both are held against a hash, which takes tens of milliseconds; without it it is one.
    assert min(wrong) > 0.01
    assert min(unknown) > 0.01


def test_only_so_many_unknown_keys_are_tried_and_known_ones_pass_all_the_same(
    client: TestClient, key: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = key(Role.READ)
    assert client.get("/predictions", headers=mine).status_code == 200
    monkeypatch.setattr("ddx.services.callers._TRIES_PER_MINUTE", 3.0)
    statuses = [
        client.get(
            "/predictions", headers={"X-API-Key": f"ddx_aaaaaaaaaaaa_{'A' * 41}{n:02d}"}
        ).status_code
        for n in range(8)
    ]
    assert statuses.count(429) >= 4
    assert client.get("/predictions", headers=mine).status_code == 200


def test_revoked_and_expired_keys_are_refused_and_told_why(
    client: TestClient, key: Make, server: Server
) -> None:
    revoked = key(Role.READ)
    assert client.get("/predictions", headers=revoked).status_code == 200
    callers.revoke(server.settings, key.last)  # type: ignore[attr-defined]
    expired = key(Role.READ, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    wait_for_the_next_look()
    for headers, word in ((revoked, "revoked"), (expired, "expired")):
        answer = client.get("/predictions", headers=headers)
        assert answer.status_code == 401
        assert word in answer.json()["detail"]


def test_a_rotated_key_is_the_same_caller_and_its_old_token_ends(
    client: TestClient, key: Make, server: Server
) -> None:
    old = key(Role.PREDICT)
    first = client.post("/predict/v1", json=CASE, headers=old)
    token, _ = callers.rotate(server.settings, key.last, timedelta(hours=1))  # type: ignore[attr-defined]
    new = {"Authorization": f"Bearer {token}"}
    wait_for_the_next_look()
    again = client.post("/predict/v1", json=CASE, headers=new)
    assert again.content == first.content, "its trackers stay its own"
    assert client.post("/predict/v1", json=CASE, headers=old).status_code == 200
    token, _ = callers.rotate(server.settings, key.last, timedelta())  # type: ignore[attr-defined]
    wait_for_the_next_look()
    for ended in (old, new):
        assert client.post("/predict/v1", json=CASE, headers=ended).status_code == 401
    newest = {"Authorization": f"Bearer {token}"}
    assert client.post("/predict/v1", json=CASE, headers=newest).content == first.content
    with pytest.raises(UnknownKey):
        callers.rotate(server.settings, "north/none", timedelta())


def test_each_role_opens_what_it_names_and_nothing_else(client: TestClient, key: Make) -> None:
    by_role = {role: key(role) for role in Role}
    id = client.post("/predict/v1", json=CASE, headers=by_role[Role.PREDICT]).json()[
        "prediction_id"
    ]
    said = {"feedback": [{"outcome": "accepted"}]}
    doors: list[tuple[str, str, Any, set[Role]]] = [
        ("POST", "/predict/v1", CASE, {Role.PREDICT}),
        ("POST", "/predict/v1/stream", CASE, {Role.PREDICT}),
        ("POST", "/predict/v1/batch", {"cases": [CASE]}, {Role.PREDICT}),
        ("GET", "/predictions", None, {Role.READ, Role.AUDIT}),
        ("GET", f"/predictions/{id}", None, {Role.READ, Role.AUDIT}),
        ("POST", f"/predictions/{id}/feedback", said, {Role.LABEL}),
        ("GET", "/", None, {Role.PREDICT}),
        ("GET", "/dashboard", None, {Role.READ, Role.AUDIT}),
        ("GET", f"/dashboard/requests/{id}", None, {Role.READ, Role.AUDIT}),
        ("GET", "/metrics", None, {Role.MONITOR}),
        ("GET", "/nothing/here", None, set()),
    ]
    for method, path, body, roles in doors:
        for role, headers in by_role.items():
            answer = client.request(method, path, json=body, headers=headers)
            if role in roles or role is Role.ADMIN:
                assert answer.status_code not in (401, 403), (path, role)
            else:
                assert answer.status_code == 403, (path, role)
                assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("role", list(Role))
def test_mlflows_pages_are_an_admins_where_mlflow_has_no_login(
    client: TestClient, key: Make, role: Role
) -> None:
    asked = client.post("/predict/v1", json=CASE, headers=key(Role.ADMIN))
    id, mine = asked.json()["prediction_id"], key(role)
    paths = ("/mlflow/", f"/dashboard/requests/{id}/mlflow")
    for path in paths:
        answer = client.get(path, headers=mine)
        assert (answer.status_code == 403) is (role is not Role.ADMIN), path
        assert ("ddx up --secure" in answer.text) is (role in {Role.READ, Role.AUDIT})
    for method in ("PUT", "PATCH", "DELETE"):
        refused = client.request(method, "/mlflow/x", headers=mine).status_code == 403
        assert refused is (role is not Role.ADMIN)


def test_every_documented_operation_has_a_role_of_its_own(client: TestClient) -> None:
    unsaid = [
        (verb, path)
        for path, verb, _ in operations(client.get("/openapi.json").json())
        if roles_for(verb.upper(), path) == frozenset({Role.ADMIN})
    ]
    assert unsaid == [("get", path) for path in ("/health-status", "/healthz", "/readyz")], (
        "these are open"
    )


# --- tenants ----------------------------------------------------------------------------


@pytest.fixture
def theirs(client: TestClient, key: Make) -> tuple[str, dict[str, str]]:
    """What the tenant south asked, and a key of the tenant north with every role but admin."""
    answer = client.post("/predict/v1", json=CASE, headers=key(Role.PREDICT, tenant="south")).json()
    return answer["prediction_id"], key(*(set(Role) - {Role.ADMIN, Role.MONITOR}))


def test_another_tenants_prediction_is_as_one_that_never_was(
    client: TestClient, theirs: tuple[str, dict[str, str]]
) -> None:
    id, mine = theirs
    never = id[:-4] + ("0000" if not id.endswith("0000") else "1111")
    said = {"outcome": "accepted"}
    for method, path, body in (
        ("GET", "/predictions/{}", None),
        ("POST", "/predictions/{}/feedback", said),
        ("GET", "/dashboard/requests/{}", None),
    ):
        asked = [
            client.request(method, path.format(one), json=body, headers=mine) for one in (id, never)
        ]
        assert [one.status_code for one in asked] == [404, 404], path
        assert asked[0].text.replace(id, "ID") == asked[1].text.replace(never, "ID")
    replay = client.post(
        f"/dashboard/requests/{id}/replay",
        headers=mine | {"Content-Type": "application/x-www-form-urlencoded"},
        content="model_name=instant",
    )
    assert replay.status_code == 404


def test_a_list_holds_the_tenants_own_and_an_admin_sees_all(
    client: TestClient, key: Make, theirs: tuple[str, dict[str, str]]
) -> None:
    id, mine = theirs
    own = client.post("/predict/v1", json=CASE, headers=mine).json()["prediction_id"]
    colleague = key(Role.READ)

    def listed(headers: dict[str, str], **query: str) -> list[str]:
        found = client.get("/predictions", params=query, headers=headers).json()
        return [one["prediction_id"] for one in found["predictions"]]

    assert own != id, "the same tracker of another tenant is another prediction"
    assert listed(mine) == listed(colleague) == [own]
    assert listed(mine, tracker=CASE["tracker"]) == [own]
    assert listed(key(Role.ADMIN)) == [own, id]


def test_what_was_asked_before_there_were_keys_is_an_admins(client: TestClient, key: Make) -> None:
    id = client.post("/predict/v1", json=CASE).json()["prediction_id"]
    reader, admin = key(Role.READ), key(Role.ADMIN)
    wait_for_the_next_look()
    assert client.get(f"/predictions/{id}", headers=reader).status_code == 404
    assert client.get(f"/predictions/{id}", headers=admin).status_code == 200


def test_anothers_batch_cannot_be_followed(client: TestClient, key: Make) -> None:
    taken = client.post(
        "/predict/v1/batch",
        json={"cases": [CASE]},
        headers=key(Role.PREDICT, tenant="south") | {"Idempotency-Key": "b1"},
    ).json()
    mine = key(Role.PREDICT)
    for path in (taken["status_url"], taken["results_url"]):
        assert client.get(path, headers=mine).status_code == 404


def test_the_same_trackers_body_of_another_tenant_is_not_told(
    client: TestClient, theirs: tuple[str, dict[str, str]]
) -> None:
    _, mine = theirs
    other = client.post("/predict/v1", json=CASE | {"case": "Another case."}, headers=mine)
    assert other.status_code == 200, "a 422 would say that somebody used the tracker"


# --- limits -----------------------------------------------------------------------------


def test_a_key_over_its_rate_waits_as_long_as_it_is_told(client: TestClient, key: Make) -> None:
    slow = key(Role.READ, rate_per_minute=2.0)
    statuses = [client.get("/predictions", headers=slow) for _ in range(3)]
    assert [one.status_code for one in statuses] == [200, 200, 429]
    assert 1 <= int(statuses[2].headers["retry-after"]) <= 30
    assert statuses[2].json()["code"] == "rate_limited"
    assert client.get("/predictions", headers=key(Role.READ)).status_code == 200, "others go on"


# --- browsers ---------------------------------------------------------------------------


def test_a_browser_is_asked_for_the_key_on_a_page_of_words(client: TestClient, key: Make) -> None:
    reader = key(Role.READ)
    page = client.get("/dashboard", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert page.headers["www-authenticate"].startswith("Basic")
    assert "<html" in page.text
    refused = client.get("/", headers=reader | {"Accept": "text/html"})
    assert refused.status_code == 403
    assert "predict" in refused.text
    assert "www-authenticate" not in refused.headers


def test_another_site_cannot_use_the_password_that_a_browser_remembers(
    client: TestClient, key: Make
) -> None:
    token = key(Role.PREDICT)["Authorization"].removeprefix("Bearer ")
    basic = base64.b64encode(f"x:{token}".encode()).decode()
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        answer = client.post(
            "/predict/v1",
            json=CASE,
            headers={"Authorization": f"Basic {basic}", "Sec-Fetch-Site": site},
        )
        assert answer.status_code == status


def test_no_log_line_holds_a_key(
    client: TestClient, key: Make, caplog: pytest.LogCaptureFixture
) -> None:
    mine = key(Role.READ)["Authorization"]
    client.get("/predictions", headers={"Authorization": mine})
    client.get("/predictions", headers={"Authorization": mine[:-3] + "AAA"})
    assert mine[-40:-3] not in caplog.text
