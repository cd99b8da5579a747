"""The image and the compose file: linted, of the schema, closed in, and run here without an engine.

The services' commands and environments are taken from the file as they are, with the addresses
and folders of a container put elsewhere; PostgreSQL and the object store are real.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.deploy.manifests import (
    BIN,
    CASE,
    DEPLOY,
    HOME,
    check_command,
    check_variables,
    ddx_json,
    pairs,
    wait_for,
)
from tests.postgres import NoPostgres, a_postgres
from tests.system.stack import free_port

FILE = DEPLOY / "docker" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("mlflow", "server", "deliverer")
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
ENV_EXAMPLE = pairs((DEPLOY / "docker" / "env.example").read_text().splitlines())
IN_ENV = {**ENV_EXAMPLE, "POSTGRES_PASSWORD": "secret", "S3_KEY_ID": "keyid", "S3_SECRET": "shh"}
_VARIABLE = re.compile(r"\$\{(\w+)(?::[-?]([^}]*))?\}")


def program(name: str) -> str:
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def instructions(keyword: str) -> list[str]:
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{keyword} (.*)$", text, re.MULTILINE)


def image_variables() -> dict[str, str]:
    return pairs(word for line in instructions("ENV")[1:] for word in line.split())


# --- what stands in the files -------------------------------------------------------------


def test_hadolint_finds_no_fault_in_the_dockerfile() -> None:
    done = subprocess.run(
        [program("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_the_image_runs_as_nobody_who_matters_and_installs_only_what_is_locked() -> None:
    assert instructions("USER")[-1] == "10001:10001"
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert all("--no-deps" in line for line in installs)
    assert "--require-hashes" in installs[0]
    check_variables(image_variables())


def test_the_context_of_the_build_is_what_the_dockerfile_copies() -> None:
    lines = (HOME / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    assert copied == let_in
    assert [name for name in copied if not (HOME / name).exists()] == []


def test_the_compose_file_is_of_the_schema() -> None:
    done = subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_closed_in(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    if name == "bucket":  # gives a new volume to its owner, reaches nobody, and ends
        assert service["network_mode"] == "none"
        return
    assert service["user"] not in ("root", "0", "0:0")
    assert "cap_add" not in service
    assert service["healthcheck"]["test"][0] == "CMD"


def test_the_stores_have_no_way_out_and_nothing_is_open_beyond_this_machine() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    for name in ("postgres", "objects"):
        assert SERVICES[name]["networks"] == ["stores"]
        assert "ports" not in SERVICES[name]
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_journal_is_a_volume_of_server_and_deliverer_alone() -> None:
    have = {name for name, one in SERVICES.items() if "journal" in str(one.get("volumes"))}
    assert have == {"server", "deliverer"}
    mounted = {
        volume.partition(":")[0] for s in SERVICES.values() for volume in s.get("volumes", [])
    }
    assert mounted == set(COMPOSE["volumes"])


def test_no_secret_stands_in_the_file_and_the_example_names_each_variable() -> None:
    found = {name for name, _ in _VARIABLE.findall(FILE.read_text())}
    assert found == set(ENV_EXAMPLE)
    for name in ("POSTGRES_PASSWORD", "S3_KEY_ID", "S3_SECRET"):
        assert ENV_EXAMPLE[name] == ""
        assert f"${{{name}:?" in FILE.read_text()


@pytest.mark.parametrize("name", OURS)
def test_each_command_option_and_variable_exists(name: str) -> None:
    check_command(SERVICES[name]["command"])
    check_variables(SERVICES[name]["environment"], quiet=False)


def test_the_deliverers_health_check_and_the_images_command_exist() -> None:
    check_command(SERVICES["deliverer"]["healthcheck"]["test"][1:])
    check_command(yaml.safe_load(instructions("CMD")[-1]))


# --- and at work ----------------------------------------------------------------------------


class Containers:
    """The services of the file as processes here."""

    def __init__(self, root: Path, postgres: str) -> None:
        self.root = root
        self.port = {name: str(free_port()) for name in ("mlflow", "server", "objects")}
        self.put = {
            "postgres:5432": postgres,
            "objects:9000": f"127.0.0.1:{self.port['objects']}",
            "127.0.0.1:9000": f"127.0.0.1:{self.port['objects']}",
            "0.0.0.0:9000": f"127.0.0.1:{self.port['objects']}",
            "--port=5000": f"--port={self.port['mlflow']}",
            "127.0.0.1:5000/health": f"127.0.0.1:{self.port['mlflow']}/health",
            "127.0.0.1:8000": f"127.0.0.1:{self.port['server']}",
            "/var/lib/ddx": str(root / "journal"),
            "/data": str(root / "objects"),
        }
        (root / "journal").mkdir(mode=0o700)
        (root / "settings").mkdir()
        for file in (DEPLOY / "settings").glob("*.*"):
            (root / "settings" / file.name).write_text(self.moved(file.read_text()))

    def moved(self, text: str) -> str:
        """Fill in the variables, and put what is a container's where it is here."""
        text = _VARIABLE.sub(lambda found: IN_ENV[found[1]] or found[2], text)
        for there, here in self.put.items():
            text = text.replace(there, here)
        return text

    def environment(self, name: str) -> dict[str, str]:
        said: Mapping[str, str] = SERVICES[name].get("environment", {})
        found = {**image_variables(), **said}
        found = {key: self.moved(str(value)) for key, value in found.items()}
        ours = {"DDX_MLFLOW_HOST": "127.0.0.1", "DDX_MLFLOW_PORT": self.port["mlflow"]}
        places = {"DDX_HOME": str(self.root / "settings"), "HOME": str(self.root)}
        return {
            **found,
            **ours,
            **places,
            "PATH": f"{BIN}:{os.defpath}",
            "LANG": "C.UTF-8",
            "DDX_PORT": self.port["server"],
        }

    def words(self, words: list[str]) -> list[str]:
        return [self.moved(str(word)) for word in words]

    def start(self, name: str, *before: str) -> subprocess.Popen[bytes]:
        folder = self.root / f"{name}-folder"
        folder.mkdir()
        with (self.root / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [*before, *self.words(SERVICES[name]["command"])],
                env=self.environment(name),
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                umask=0o077,
            )

    def healthy(self, name: str) -> bool:
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(
            self.words(words), env=self.environment(name), capture_output=True, check=False
        )
        return done.returncode == 0


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    import psycopg

    rclone = program("rclone")
    with ExitStack() as stack:
        try:
            address = stack.enter_context(a_postgres(tmp_path_factory.mktemp("postgres")))
        except NoPostgres as error:
            pytest.skip(str(error))
        with psycopg.connect(address.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("create role mlflow login superuser")
            connection.execute("create database mlflow owner mlflow")
        place = address.partition("@")[2].partition("/")[0]
        found = Containers(tmp_path_factory.mktemp("containers"), place)
        (found.root / "objects" / "mlflow").mkdir(parents=True)  # as the service `bucket` does
        for name in ("objects", *OURS):
            process = found.start(name, *([rclone] if name == "objects" else []))
            stack.callback(process.wait, 60)
            stack.callback(process.terminate)
        for name in ("objects", *OURS):
            wait_for(lambda name=name: found.healthy(name), found.root.glob("*.log"))  # type: ignore[misc]
        yield found


def test_a_case_goes_from_the_door_to_postgresql_and_the_object_store(
    containers: Containers,
) -> None:
    url = f"http://127.0.0.1:{containers.port['server']}/predict/v1"
    assert httpx.post(url, json={"case": CASE}).status_code == 401
    environment = containers.environment("server")
    key = ddx_json(environment, "keys", "create", "--role", "predict")["token"]
    sent = {"Authorization": f"Bearer {key}"}
    answered = httpx.post(url, json={"case": CASE}, headers=sent, timeout=60)

    assert answered.status_code == 200, answered.text
    wait_for(
        lambda: bool(ddx_json(containers.environment("deliverer"), "verify")["ok"]),
        containers.root.glob("*.log"),
    )
    stored = [path.name for path in (containers.root / "objects" / "mlflow").rglob("*.*")]
    assert {"input_case.txt", "final_response.txt", "record.json"} <= set(stored)


def test_mlflow_answers_to_the_names_that_it_has_here_and_to_no_other(
    containers: Containers,
) -> None:
    url = f"http://127.0.0.1:{containers.port['mlflow']}/api/2.0/mlflow/experiments/search"
    told = {
        host: httpx.get(url, params={"max_results": 1}, headers={"Host": host}).status_code
        for host in ("mlflow:5000", "localhost:5000", "rebound.example.org")
    }
    assert told == {"mlflow:5000": 200, "localhost:5000": 200, "rebound.example.org": 403}


def test_nothing_is_written_outside_the_volumes(containers: Containers) -> None:
    # The root of each container is read-only; /tmp is where HOME is.
    for name in OURS:
        assert list((containers.root / f"{name}-folder").iterdir()) == [], name


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace is root's to make")
def test_as_the_first_process_of_a_container_the_server_still_ends_on_sigterm(
    containers: Containers, tmp_path: Path
) -> None:
    words = [program("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"]
    port = str(free_port())
    environment = {**containers.environment("server"), "DDX_PORT": port, "DDX_INSTANCE": "first"}
    script = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"
    with (tmp_path / "log").open("wb") as log:
        outer = subprocess.Popen(
            [*words, sys.executable, "-c", script, *SERVICES["server"]["command"]],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        ready = f"http://127.0.0.1:{port}/readyz"
        wait_for(lambda: httpx.get(ready).status_code == 200, [tmp_path / "log"])
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        os.kill(int(children[0]), 15)
        outer.wait(30)
    finally:
        outer.kill()
        outer.wait(30)
