"""Who looked at what: nothing is shown before its line is kept, and no line changes unseen."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.web.test_door import CASE, Make, key

from ddx import settings
from ddx.adapters.access_trail import AccessTrail
from ddx.cli import run
from ddx.core.access import Act, Look, audit_event, breaks
from ddx.core.callers import Role
from ddx.web.state import Server
from ddx.wiring import auditing

__all__ = ["key"]
LOOK = Look(at="2026-11-30T23:59:59+00:00", caller="north/k1", act=Act.READ, ids=("id-1",))


def looks(client: TestClient, headers: dict[str, str], **query: str) -> list[dict[str, Any]]:
    answer = client.get("/audit", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["looks"]
    return found


def test_each_way_to_see_a_prediction_leaves_a_line(client: TestClient, key: Make) -> None:
    mine = key(Role.PREDICT, Role.READ, Role.AUDIT)
    id = client.post("/predict/v1", json=CASE, headers=mine).json()["prediction_id"]
    caller = key.last  # type: ignore[attr-defined]
    client.get(f"/predictions/{id}", headers=mine)
    client.get("/predictions", headers=mine)
    client.get(f"/dashboard/requests/{id}", headers=mine)
    found = looks(client, mine, prediction_id=id)
    assert [(one["act"], one["caller"]) for one in found] == [
        ("read", caller),
        ("list", caller),
        ("read", caller),
    ]
    assert [one["act"] for one in looks(client, mine)] == ["audit", "audit", "read", "list", "read"]


def test_what_was_not_shown_is_not_noted(client: TestClient, key: Make) -> None:
    mine = key(Role.READ, Role.AUDIT)
    client.get("/predictions/01a20801-e9ca-787c-862e-5df01cce0ac4", headers=mine)
    client.get("/predictions", headers={"Authorization": "Bearer none"})
    assert [one["act"] for one in looks(client, mine)] == ["audit"]


def test_an_auditor_sees_looks_at_the_tenants_own_and_an_admin_all(
    client: TestClient, key: Make
) -> None:
    theirs = key(Role.PREDICT, tenant="south")
    mine = key(Role.PREDICT, Role.READ, Role.AUDIT)
    admin = key(Role.ADMIN)
    other = client.post("/predict/v1", json=CASE, headers=theirs).json()["prediction_id"]
    own = client.post("/predict/v1", json=CASE, headers=mine).json()["prediction_id"]
    for id in (own, other):
        client.get(f"/predictions/{id}", headers=admin)
    seen = [id for one in looks(client, mine) for id in one["prediction_ids"]]
    assert seen == [own], "an admin's look at it, and none at another tenant's"
    every = [id for one in looks(client, admin) for id in one["prediction_ids"]]
    assert sorted(every) == sorted([own, other])


def test_nothing_is_shown_where_its_line_cannot_be_kept(client: TestClient, server: Server) -> None:
    id = client.post("/predict/v1", json=CASE).json()["prediction_id"]
    (server.settings.data / "access").write_text("in the way")
    for path in (f"/predictions/{id}", "/predictions", f"/dashboard/requests/{id}"):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert "Fever" not in answer.text
    assert client.post("/predict/v1", json=CASE | {"tracker": "2"}).status_code == 200


def test_it_comes_as_audit_events_of_fhir_r4(client: TestClient) -> None:
    forms = pytest.importorskip("fhir.resources.R4B.bundle", reason="needs fhir.resources")
    id = client.post("/predict/v1", json=CASE).json()["prediction_id"]
    client.get(f"/predictions/{id}")
    answer = client.get("/audit", params={"format": "fhir"})
    assert answer.headers["content-type"] == "application/fhir+json"
    bundle = forms.Bundle.model_validate(answer.json())
    assert len(bundle.entry) == 2
    read = bundle.entry[1].resource
    assert read.get_resource_type() == "AuditEvent"
    assert read.entity[0].what.identifier.value == id
    assert "Fever" not in answer.text


@pytest.mark.parametrize("act", Act)
def test_each_act_is_an_audit_event(act: Act) -> None:
    forms = pytest.importorskip("fhir.resources.R4B.auditevent", reason="needs fhir.resources")
    look = Look(at=LOOK.at, caller="os:ddx", act=act, ids=()).chained(1, "")
    assert forms.AuditEvent.model_validate(audit_event(look, "ddx")).action in ("R", "E")


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "x"}, {"since": "soon"}, {"format": "xml"}, {"who": "me"}]
)
def test_a_question_of_another_form_is_refused(client: TestClient, query: dict[str, str]) -> None:
    assert client.get("/audit", params=query).status_code == 422


# --- the file ---------------------------------------------------------------------------


def some(folder: Path, count: int = 5) -> Path:
    trail = AccessTrail(folder)
    for number in range(count):
        trail.add(Look(at=LOOK.at, caller=f"north/k{number}", act=Act.READ, ids=(f"id-{number}",)))
    (file,) = (folder / "access").glob("*.jsonl")
    return file


def broken(folder: Path) -> list[tuple[int, str]]:
    return list(breaks(AccessTrail(folder).lines()))


def test_it_is_private_and_whole(tmp_path: Path) -> None:
    file = some(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert broken(tmp_path) == []


Change = Callable[[list[str]], list[str]]
CHANGES: dict[str, Change] = {
    "a caller is changed": lambda lines: [one.replace("north/k2", "north/k9") for one in lines],
    "a line is taken out": lambda lines: lines[:2] + lines[3:],
    "two lines change places": lambda lines: [lines[1], lines[0], *lines[2:]],
    "a line is put in": lambda lines: [*lines[:2], lines[1], *lines[2:]],
    "a line is blanked": lambda lines: [*lines[:2], "", *lines[3:]],
    "the first is taken away": lambda lines: lines[1:],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_found(tmp_path: Path, change: Change) -> None:
    file = some(tmp_path)
    file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")
    assert broken(tmp_path) != []


def test_a_cut_end_is_found_by_the_signed_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    given = settings.load({}, home=tmp_path)
    (given.data / "keys").mkdir(parents=True, mode=0o700)
    file = some(given.data)
    auditing.sign_checkpoint(given)
    assert run(["audit", "verify"]) == 0
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")
    assert broken(given.data) == [], "the chain alone does not show it"
    capsys.readouterr()
    assert run(["audit", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["faults"][0]["line"] == 5


def test_a_line_that_a_power_cut_tore_gives_way_to_the_next(tmp_path: Path) -> None:
    file = some(tmp_path, 2)
    with file.open("a") as opened:
        opened.write('{"act":"read","at":"2026-1')
    assert AccessTrail(tmp_path).add(LOOK) == 3
    assert broken(tmp_path) == []


def test_the_chain_goes_on_over_months_and_a_clock_that_goes_back(tmp_path: Path) -> None:
    trail = AccessTrail(tmp_path)
    for at in (
        "2026-11-30T23:59:59+00:00",
        "2026-12-01T00:00:00+00:00",
        "2026-11-30T23:59:59+00:00",
    ):
        trail.add(Look(at=at, caller="x", act=Act.LIST))
    assert [one.stem for one in sorted((tmp_path / "access").glob("*.jsonl"))] == [
        "2026-11",
        "2026-12",
    ]
    assert broken(tmp_path) == []


def test_many_writers_make_one_chain(tmp_path: Path) -> None:
    trails = [AccessTrail(tmp_path) for _ in range(2)]
    numbers: list[int] = []

    def write(trail: AccessTrail) -> None:
        numbers.extend(trail.add(LOOK) for _ in range(25))

    threads = [threading.Thread(target=write, args=(trails[n % 2],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 201))
    assert broken(tmp_path) == []


def test_commands_that_take_records_out_are_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    run(["export", "cases", "--out", str(tmp_path / "cases.jsonl")])
    run(["backup", str(tmp_path / "b.tar")])
    capsys.readouterr()
    assert run(["audit", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["act"] for one in found] == ["backup", "export"]
    assert found[0]["caller"].startswith("os:")
    assert run(["audit", "--fhir"]) == 0
    assert json.loads(capsys.readouterr().out)["resourceType"] == "Bundle"
