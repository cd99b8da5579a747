"""An MLflow that speaks TLS itself, reached from other machines, with its login: a real one."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
import trustme
from tests.system.stack import Stack
from tests.tracking_server import a_free_port

pytest.importorskip("flask_wtf", reason="needs the extra `secure`")
API = "/api/2.0/mlflow"
CASE = {"case": "Fever for 3 days and a petechial rash."}


@dataclass
class Installation:
    stack: Stack
    key: str

    def ddx(self, *words: str) -> tuple[int, str]:
        found = subprocess.run(
            [sys.executable, "-m", "ddx", *words],
            env=self.stack.environment | {"DDX_HOME": str(self.stack.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        return found.returncode, found.stdout + found.stderr

    def mlflow(
        self, path: str, *, host: str | None = None, login: bool = True
    ) -> tuple[int, bytes]:
        """Ask MLflow as another machine would, which trusts the authority alone."""
        trusted = ssl.create_default_context(cafile=self.stack.home / "ca.pem")
        port = self.stack.mlflow_port
        word = (self.stack.home / "ddx_data" / "mlflow_auth" / "password").read_text()
        pair = base64.b64encode(f"ddx:{word}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"} if login else {}
        with closing(
            http.client.HTTPSConnection("localhost", port, timeout=30, context=trusted)
        ) as connection:
            headers |= {"Host": host} if host else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def server(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with closing(
            http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=30)
        ) as connection:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.fixture(scope="module", params=["auto", "client"])
def installation(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("with tls")  # a space: the paths go through a command line
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    made.private_key_pem.write_to_path(home / "key.pem")
    (home / "cert.pem").write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    authority.cert_pem.write_to_path(home / "ca.pem")
    stack = Stack(home, a_free_port(), a_free_port(), dict(os.environ))
    (home / "ddx.toml").write_text(
        "mlflow_secure = true\nmlflow_host = '0.0.0.0'\n"
        "mlflow_tls_cert_file = 'cert.pem'\nmlflow_tls_key_file = 'key.pem'\n"
        "mlflow_tls_ca_file = 'ca.pem'\n"
        f"mlflow_public_url = 'https://localhost:{stack.mlflow_port}'\n"
        f"port = {stack.port}\nmlflow_port = {stack.mlflow_port}\n"
        f"delivery = '{request.param}'\nbench_models = true\ndefault_model = 'instant'\n"
    )
    found = Installation(stack, "")
    found.key = json.loads(
        found.ddx(
            "keys", "create", "--role", "read", "--role", "predict", "--role", "audit", "--json"
        )[1]
    )["token"]
    stack.start(180)
    yield found
    stack.stop()


def test_mlflow_answers_over_tls_alone_and_asks_who_it_is(installation: Installation) -> None:
    search = f"{API}/experiments/search?max_results=5"
    assert installation.mlflow(search)[0] == 200
    assert installation.mlflow(search, login=False)[0] == 401
    assert installation.mlflow(search, host="evil.example")[0] == 403
    port = installation.stack.mlflow_port
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as plain:
        plain.request("GET", "/health")
        with pytest.raises((http.client.HTTPException, OSError)):
            plain.getresponse()


def test_deliverer_commands_and_the_way_through_this_server_trust_the_certificate(
    installation: Installation,
) -> None:
    status, body = installation.server("POST", "/predict/v1", CASE)
    assert status == 200
    id = json.loads(body)["prediction_id"]

    def delivered() -> bool:
        return installation.server("GET", f"/dashboard/requests/{id}/mlflow")[0] == 303

    installation.stack.wait(delivered, 60)
    assert installation.ddx("verify")[0] == 0
    assert installation.server("GET", "/mlflow/")[0] == 200
    by_name = "/mlflow/ajax-api/2.0/mlflow/experiments/get-by-name"
    found = installation.server("GET", f"{by_name}?experiment_name=ddx-server-tracking")
    assert found[0] == 200
    looks = {
        one["name"]: one
        for one in json.loads(installation.ddx("doctor", "--all", "--json")[1])["checks"]
    }
    assert [looks[name]["ok"] for name in ("MLflow", "MLflow's door", "MLflow's certificate")] == [
        True
    ] * 3
    assert "cert.pem ends" in looks["MLflow's certificate"]["found"]
    assert looks["MLflow's door"]["found"] == "closed to strangers"
