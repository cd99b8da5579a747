"""The alert rules and the dashboard: sound, tested, and of metrics that a server really has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as families
from tests.adapters.dspy_engine.stub import Says
from tests.deploy.conftest import Served

HOME = Path(__file__).resolve().parents[2]
RULES = HOME / "deploy" / "prometheus" / "alerts.yml"
RULE_TESTS = RULES.with_name("alerts_test.yml")
DASHBOARD = json.loads((HOME / "deploy" / "grafana" / "ddx.json").read_text())
CASE = "A 24-year-old man has had fever for 3 days."
UNITS = ("_seconds", "_bytes", "_total", "_records", "_predictions", "_cases", "_ok", "_info")
_SELECTOR = re.compile(r"\b((?:ddx|process)_\w+)\{([^}]*)\}")
_NAME = re.compile(r"\b(?:ddx|process)_\w+")
_ALERT = re.compile(r"- alert: (\w+)")


def panels() -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions() -> list[str]:
    """Each expression of the dashboard, with figures in place of what Grafana puts in."""
    found = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    return [re.sub(r"\$__(rate_interval|range)", "5m", one) for one in found]


@pytest.fixture(scope="module")
def promtool() -> str:
    if (found := shutil.which("promtool")) is None:
        pytest.skip("needs promtool (Debian: apt-get install prometheus)")
    return found


def run(promtool: str, verb: str, file: Path) -> None:
    command = [promtool, verb, "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scraped(served: Served) -> dict[str, set[str]]:
    """What /metrics holds after a request of each kind: name of a series -> its labels."""
    served.stub.script[:] = [Says(), Says(status=400)]
    with httpx.Client(base_url=served.url, timeout=120) as client:
        told = [
            client.post("/predict/v1", json=body).status_code
            for body in (
                {"case": CASE},
                {"case": CASE, "model_name": "local"},
                {"case": CASE, "model_name": "local"},
                {"case": CASE, "model_name": "no-such-model"},
                {"case": ""},
            )
        ]
        assert told == [200, 200, 502, 400, 422]
        text = client.get("/metrics").text
    samples = [sample for family in families(text) for sample in family.samples]
    return {one.name: set(one.labels) for one in samples}


def test_promtool_finds_the_rules_sound(promtool: str) -> None:
    run(promtool, "check", RULES)


def test_each_alert_fires_when_it_should_and_not_otherwise(promtool: str) -> None:
    run(promtool, "test", RULE_TESTS)
    expected = set(re.findall(r'alertname="(\w+)",alertstate="firing"', RULE_TESTS.read_text()))
    expected |= set(re.findall(r"alertname: (\w+)$", RULE_TESTS.read_text(), re.MULTILINE))
    assert expected == set(_ALERT.findall(RULES.read_text()))


def test_each_alert_says_how_grave_it_is_what_to_do_and_where_that_is_explained() -> None:
    page = (HOME / "docs" / "alarms.md").read_text()
    _, *alerts = re.split(r"^      - alert: ", RULES.read_text(), flags=re.MULTILINE)
    assert alerts
    for alert in alerts:
        name = alert.splitlines()[0]
        assert re.search(r"severity: (critical|warning)}", alert), name
        assert "summary: " in alert, name
        assert "advice: " in alert, name
        assert f"runbook: docs/alarms.md#{name.lower()}\n" in alert, name
        assert f"\n### {name}\n" in page


def test_a_server_has_every_metric_that_the_rules_and_the_dashboard_name(
    scraped: dict[str, set[str]],
) -> None:
    asked = set(_NAME.findall(RULES.read_text())) | set(_NAME.findall(RULE_TESTS.read_text()))
    asked |= {name for one in expressions() for name in _NAME.findall(one)}
    variables = [one["query"] for one in DASHBOARD["templating"]["list"]]
    asked |= set(_NAME.findall(json.dumps(variables)))
    assert len(asked) > 20
    assert asked - set(scraped) == set()


def test_each_label_that_they_choose_by_is_one_of_that_metric(
    scraped: dict[str, set[str]],
) -> None:
    for text in [RULES.read_text(), RULE_TESTS.read_text(), *expressions()]:
        for name, chosen in _SELECTOR.findall(text):
            labels = set(re.findall(r"(\w+)=", chosen))
            assert labels <= scraped[name] | {"job", "instance"}, (name, labels)


def test_the_page_lists_every_metric(scraped: dict[str, set[str]]) -> None:
    listed = set(_NAME.findall((HOME / "docs" / "alarms.md").read_text()))
    ours = {re.sub(r"_(bucket|count|sum)$", "", one) for one in scraped if one.startswith("ddx_")}
    assert ours - listed == set()
    assert {one for one in listed if one.startswith("ddx_")} - ours <= {"ddx_data"}


def test_every_metric_has_a_unit_and_labels_of_few_values(scraped: dict[str, set[str]]) -> None:
    ours = {name: labels for name, labels in scraped.items() if name.startswith("ddx_")}
    plain = {re.sub(r"_(bucket|count|sum|limit)$", "", name) for name in ours}
    assert [name for name in plain if not name.endswith(UNITS)] == []
    few = {"model", "outcome", "code", "route", "method", "status", "error", "direction", "check"}
    assert set().union(*ours.values()) - few == {"le", "version"}


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    assert DASHBOARD["uid"] == "ddx"
    assert DASHBOARD["schemaVersion"] >= 39
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        used = set(re.findall(r"\$(?!__)(\w+)", json.dumps(panel["targets"])))
        assert used <= variables
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels())
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)


def test_promtool_reads_every_expression_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"one:{number}", "expr": one} for number, one in enumerate(expressions())]
    assert len(rules) > 30
    file = tmp_path / "dashboard.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", file)
