"""The server behind its own TLS: a real process, real certificates."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

CASE = {"case": "Fever for 3 days and a petechial rash."}


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def put(home: Path, authority: trustme.CA) -> None:
    made = authority.issue_cert("localhost", "127.0.0.1")
    made.private_key_pem.write_to_path(home / "key.new")
    (home / "cert.new").write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    (home / "key.new").replace(home / "key.pem")
    (home / "cert.new").replace(home / "cert.pem")


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def home(tmp_path: Path, authority: trustme.CA) -> Path:
    put(tmp_path, authority)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


class Running:
    """`ddx serve` on all addresses, in a process of its own."""

    def __init__(self, home: Path, **more: str) -> None:
        self.home, self.port = home, free_port()
        self.environment = {
            **os.environ,
            "DDX_HOME": str(home),
            "DDX_HOST": "0.0.0.0",
            "DDX_PORT": str(self.port),
            "DDX_BENCH_MODELS": "1",
            "DDX_DEFAULT_MODEL": "instant",
            "DDX_TLS_CERT_FILE": "cert.pem",
            "DDX_TLS_KEY_FILE": "key.pem",
            **more,
        }
        made = subprocess.run(
            [sys.executable, "-m", "ddx", "keys", "create", "--role", "predict", "--json"],
            env=self.environment,
            capture_output=True,
            check=True,
        )
        self.token = json.loads(made.stdout)["token"]
        self.log = (home / "serve.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ddx", "serve", "--no-deliverer"],
            env=self.environment,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def trusting(self, *pair: Path) -> ssl.SSLContext:
        found = ssl.create_default_context(cafile=str(self.home / "ca.pem"))
        if pair:
            found.load_cert_chain(*map(str, pair))
        return found

    def probe(self, context: ssl.SSLContext) -> int:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=context
        )
        with closing(connection):
            connection.request("GET", "/healthz")
            return connection.getresponse().status

    def ask(self, context: ssl.SSLContext, token: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=context
        )
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        with closing(connection):
            connection.request("POST", "/predict/v1", json.dumps(CASE), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def wait(self, context: ssl.SSLContext) -> None:
        give_up = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, (self.home / "serve.log").read_text()[-2000:]
            try:
                if self.ask(context, self.token)[0] == 200:
                    return
            except OSError:
                pass
            assert time.monotonic() < give_up
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self.log.close()


@pytest.fixture
def running(home: Path) -> Iterator[Running]:
    found = Running(home)
    yield found
    found.stop()


def plainly(port: int) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as plain:
        plain.request("GET", "/healthz")
        plain.getresponse()


def serial(running: Running) -> int:
    raw = ssl.get_server_certificate(("127.0.0.1", running.port))
    shown = ssl.PEM_cert_to_DER_cert(raw)
    from cryptography import x509

    return x509.load_der_x509_certificate(shown).serial_number


def test_with_keys_and_tls_it_listens_everywhere_and_a_renewal_needs_no_restart(
    running: Running, authority: trustme.CA
) -> None:
    context = running.trusting()
    running.wait(context)
    assert running.ask(context)[0] == 401
    with pytest.raises(ssl.SSLCertVerificationError):
        running.ask(ssl.create_default_context())
    with pytest.raises((OSError, http.client.HTTPException)):
        plainly(running.port)

    before = serial(running)
    (running.home / "cert.pem").write_text("half a certifi")
    time.sleep(11)
    assert serial(running) == before, "a bad file changes nothing"
    put(running.home, authority)
    give_up = time.monotonic() + 20
    while serial(running) == before:
        assert time.monotonic() < give_up
        time.sleep(0.5)
    assert running.ask(running.trusting(), running.token)[0] == 200


def test_with_client_authorities_nobody_without_their_certificate_gets_in(
    home: Path, authority: trustme.CA
) -> None:
    clients = trustme.CA()
    clients.cert_pem.write_to_path(home / "clients.pem")
    found = Running(home, DDX_TLS_CLIENT_CA_FILE="clients.pem")
    try:
        mine = clients.issue_cert("middleware")
        mine.private_key_and_cert_chain_pem.write_to_path(home / "mine.pem")
        found.wait(found.trusting(home / "mine.pem"))
        with pytest.raises(OSError):  # noqa: PT011  (which one is TLS' own matter)
            found.ask(found.trusting(), found.token)
        assert found.ask(found.trusting(home / "mine.pem"))[0] == 401, "a key is needed besides"
        assert found.probe(found.trusting(home / "mine.pem")) == 200
        with pytest.raises(OSError):  # noqa: PT011
            found.probe(found.trusting())

        long_ago = datetime.now(UTC) - timedelta(days=2)
        strangers = {
            "another authority's": trustme.CA().issue_cert("middleware"),
            "the one that signed the server's": authority.issue_cert("middleware"),
            "expired": clients.issue_cert("middleware", not_after=long_ago),
        }
        for name, other in strangers.items():
            file = home / "other.pem"
            other.private_key_and_cert_chain_pem.write_to_path(file)
            shown = found.trusting(file)
            with pytest.raises(OSError):  # noqa: PT011
                assert found.ask(shown, found.token) is None, name

        before = serial(found)
        put(home, authority)
        give_up = time.monotonic() + 20
        while serial(found) == before:
            assert time.monotonic() < give_up
            time.sleep(0.5)
        with pytest.raises(OSError):  # noqa: PT011  (a renewal opens it to nobody)
            found.ask(found.trusting(), found.token)
        assert found.ask(found.trusting(home / "mine.pem"), found.token)[0] == 200
    finally:
        found.stop()


def test_files_that_are_no_certificate_are_refused_at_the_start(home: Path) -> None:
    (home / "cert.pem").write_text("nothing")
    found = Running(home)
    assert found.process.wait(60) == 3
    found.log.close()
    assert "no certificate and its key" in (home / "serve.log").read_text()
