"""scripts/sbom: a bill of materials of what is locked, and of what is installed."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
LOCK = (HOME / "requirements.txt").read_text()
LOCKED = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCK, re.MULTILINE)


def made(out: Path, *options: str) -> dict[str, Any]:
    if importlib.util.find_spec("cyclonedx_py") is None:
        pytest.skip("needs cyclonedx-bom")
    done = subprocess.run(
        [sys.executable, HOME / "scripts" / "sbom", "-o", out, *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    bill: dict[str, Any] = json.loads(out.read_text())
    return bill


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sbom") / "first.json"
    made(path)
    return path


def test_each_locked_package_is_in_it_with_its_hashes(first: Path) -> None:
    bill = json.loads(first.read_text())

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "ddx-server"
    found = {one["name"]: one for one in bill["components"]}
    assert {name: one["version"] for name, one in found.items()} == dict(LOCKED)
    for one in found.values():
        (file,) = one["externalReferences"]
        assert file["hashes"]
        for digest in file["hashes"]:
            assert f"--hash=sha256:{digest['content']}" in LOCK
        assert one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}"


def test_it_says_what_the_project_itself_asks_for(first: Path) -> None:
    bill = json.loads(first.read_text())
    root = bill["metadata"]["component"]["bom-ref"]
    (asked,) = (one["dependsOn"] for one in bill["dependencies"] if one["ref"] == root)
    names = {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in asked}
    assert {"apsw", "cryptography", "fastapi", "mlflow", "dspy", "psycopg"} <= names
    assert "urllib3" not in names


def test_the_same_lock_gives_the_same_bytes_and_no_address(first: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.json"
    made(second)
    assert first.read_bytes() == second.read_bytes()
    components = json.dumps(json.loads(first.read_text())["components"])
    assert "://" not in components
    assert str(HOME) not in first.read_text()


def test_an_environments_bill_names_licences(tmp_path: Path) -> None:
    bill = made(tmp_path / "sbom.json", "--of", sys.executable)
    found = {one["name"]: one for one in bill["components"]}
    assert found["click"]["licenses"]
    assert any(one.get("dependsOn") for one in bill["dependencies"])
