"""The wheel and the source archive: what is in them, and that they work away from the source."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.parser import HeaderParser
from importlib import resources
from pathlib import Path

import httpx
import pytest
from tests.system.stack import free_port

from ddx import __version__

HOME = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
CASE = "Fever for 3 days, severe headache, pain behind the eyes, joint pain and a petechial rash"
# A checkout as people have it, in which somebody has worked.
STRANGERS = (
    "cases/patients.jsonl",
    "ddx.toml",
    "ddx_data/journal.db",
    "mlflow_data/mlflow.db",
    "other-1.0-py3-none-any.whl",
    ".env",
    ".venv/bin/ddx",
    "tests/golden/v1.json",
    "src/ddx/__pycache__/x.pyc",
)


@dataclass(frozen=True)
class Built:
    """Both archives, made from a checkout that holds more than belongs in them."""

    wheel: Path
    sdist: Path

    def in_wheel(self) -> dict[str, bytes]:
        with zipfile.ZipFile(self.wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def in_sdist(self) -> dict[str, bytes]:
        """Return name -> content, the names without the archive's own folder."""
        found: dict[str, bytes] = {}
        with tarfile.open(self.sdist) as archive:
            for member in archive.getmembers():
                assert member.isfile(), f"{member.name} is a link or a device"
                file = archive.extractfile(member)
                assert file is not None
                found[member.name.partition("/")[2]] = file.read()
        return found

    def metadata(self) -> Mapping[str, list[str]]:
        name = f"ddx_server-{__version__}.dist-info/METADATA"
        parsed = HeaderParser().parsestr(self.in_wheel()[name].decode())
        return {key: parsed.get_all(key, []) for key in set(parsed.keys())}


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name("uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        pytest.skip("needs uv")
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def data_files() -> Iterator[Path]:
    """Each file of the package that is no Python, below src/."""
    for path in (HOME / "src").rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            yield path.relative_to(HOME / "src")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    for backend in ("hatchling", "editables"):
        if importlib.util.find_spec(backend) is None:
            pytest.skip(f"needs {backend}")
    folder = tmp_path_factory.mktemp("wheel")
    checkout, out = folder / "checkout", folder / "dist"
    left = shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", "*_data")
    shutil.copytree(HOME, checkout, ignore=left)
    for name in STRANGERS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("nobody's business")
    # The wheel is made from the source archive: so that builds by itself, too.
    done = uv("build", "--no-build-isolation", "--python", sys.executable, "-o", out, checkout)
    assert done.returncode == 0, done.stderr
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


def install(venv: Path, what: str, *options: str) -> str:
    """Install what the wheel needs, at the locked versions; return what uv says."""
    locked = venv.with_name("locked.txt")
    lines = (HOME / "requirements.txt").read_text().splitlines()
    # As constraints, without the hashes: a wheel built here can have none.
    named = [line.removesuffix(" \\") for line in lines if "--hash=" not in line]
    locked.write_text("\n".join(named))
    python = venv / "bin" / "python"
    command = ["pip", "install", "--python", str(python), "-c", str(locked), what, *options]
    done = uv(*command, "--offline")
    if done.returncode != 0:  # the packages came by pip and are in no cache of uv's
        done = uv(*command)
    if done.returncode != 0 and "error sending request" in done.stderr:
        pytest.skip("needs a package index, or a cache of what requirements.txt names")
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of a new environment with the wheel and what it needs, no extra."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    made = uv("venv", "--python", sys.executable, venv)
    assert made.returncode == 0, made.stderr
    install(venv, str(built.wheel))
    return venv / "bin"


def ddx(bin: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bin / "ddx", *arguments],
        cwd=home,
        env={"PATH": os.defpath, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )


def test_every_data_file_of_the_package_is_in_both_as_it_is(built: Built) -> None:
    wheel, sdist = built.in_wheel(), built.in_sdist()
    found = list(data_files())
    assert {path.suffix for path in found} >= {".toml", ".html", ".css", ".js", ".svg", ".pth"}
    for path in found:
        content = (HOME / "src" / path).read_bytes()
        assert wheel.get(str(path)) == content, path
        assert sdist.get(f"src/{path}") == content, path


def test_every_module_is_in_the_wheel_and_no_test(built: Built) -> None:
    wheel = built.in_wheel()
    package = resources.files("ddx")
    assert isinstance(package, Path)
    assert {f"ddx/{path.relative_to(package)}" for path in package.rglob("*.py")} <= set(wheel)
    tops = {name.partition("/")[0] for name in wheel}
    assert tops == {"ddx", "ddx_environment.pth", f"ddx_server-{__version__}.dist-info"}


def test_neither_holds_what_lies_about_in_a_checkout(built: Built) -> None:
    for found in (built.in_wheel(), built.in_sdist()):
        assert [name for name in found if name in STRANGERS] == []
        assert [name for name, text in found.items() if text == b"nobody's business"] == []


def test_the_source_archive_has_no_tests_no_data_and_no_environment(built: Built) -> None:
    names = built.in_sdist()
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {"tests", "bench", "cases", "knowledge", "ddx_data", "mlflow_data", ".venv"}
    assert {"pyproject.toml", "README.md", "LICENSE", "src", "deploy", "PKG-INFO"} <= tops
    assert built.sdist.stat().st_size < 4 * 1024 * 1024


def test_the_wheel_says_its_version_its_licence_and_its_extras(built: Built) -> None:
    said = built.metadata()
    assert said["Version"] == [__version__] == [PROJECT["version"]]
    assert said["License-Expression"] == ["Apache-2.0"]
    assert set(said["Provides-Extra"]) == set(PROJECT["optional-dependencies"])
    assert said["Requires-Python"] == [PROJECT["requires-python"]]


@pytest.mark.parametrize(
    "extra",
    ["tracking", "llm", "evaluate", "client", "privacy", "analytics", "postgres", "oidc"],
)
def test_each_locked_extra_can_be_installed_with_it(
    built: Built, installed: Path, extra: str
) -> None:
    said = install(installed.parent, f"ddx-server[{extra}] @ {built.wheel.as_uri()}", "--dry-run")
    first = PROJECT["optional-dependencies"][extra][0]
    assert f"+ {re.match(r'[a-z-]+', first).group()}==" in said  # type: ignore[union-attr]


def test_it_works_outside_the_source_tree(installed: Path, tmp_path: Path) -> None:
    version, told = ddx(installed, tmp_path, "--version"), ddx(installed, tmp_path, "--help")
    assert version.stdout == f"ddx, version {__version__}\n"
    assert "Ask for one differential" in told.stdout
    assert list(tmp_path.iterdir()) == []

    found = subprocess.run(
        [installed / "python", "-P", "-c", "import ddx; print(ddx.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(found.stdout.strip()).is_relative_to(installed.parent)


def test_it_predicts_with_what_the_wheel_alone_brings(installed: Path, tmp_path: Path) -> None:
    done = ddx(installed, tmp_path, "predict", CASE)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" 1. Dengue fever")
    assert (tmp_path / "ddx_data").stat().st_mode & 0o777 == 0o700


def test_the_server_has_its_pages_and_what_they_load(installed: Path, tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [installed / "ddx", "serve", "--no-deliverer", "--port", str(port)],
            cwd=tmp_path,
            env={"PATH": os.defpath, "HOME": str(tmp_path)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        page = httpx.Response(503)
        give_up_at = time.monotonic() + 60
        while page.status_code != 200:
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < give_up_at, (tmp_path / "log").read_text()
            time.sleep(0.1)
            with suppress(httpx.TransportError):
                page = httpx.get(f"http://127.0.0.1:{port}/")
        loaded = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
        assert len(loaded) == 3
        for path in loaded:
            assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 200, path
    finally:
        server.terminate()
        ended = server.wait(30)
    assert ended == -signal.SIGTERM


def test_pythons_start_in_its_environment_keeps_mlflow_from_hanging_offline(
    installed: Path,
) -> None:
    told = "import os; print(os.environ['LITELLM_LOCAL_MODEL_COST_MAP'])"
    done = subprocess.run(
        [installed / "python", "-c", told], env={}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_without_an_extra_it_says_which_one(installed: Path, tmp_path: Path) -> None:
    done = ddx(installed, tmp_path, "deliver", "--once")

    assert done.returncode == 6
    assert "tracking" in done.stderr
