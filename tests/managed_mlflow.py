"""Somebody else's MLflow for tests: a real one, behind a proxy with the manners of a service.

The services themselves are not here. What each does otherwise than MLflow's own server is taken
from its documents and from what people report of it, named at each rule below; the proxy imposes
it before a real MLflow of the version that we use.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.production import servers
from tests.production.servers import KEY_ID, SECRET
from tests.tracking_server import _wait, a_free_port

from ddx.adapters import mlflow_server

TOKEN = "a-token-of-the-test"
ARN = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/ours"

_ROOT = b"mlflow-artifacts:/"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: found[0] for name, found in parse_qs(urlsplit(self.target).query).items()}

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body or b"{}")
        return found


@dataclass(frozen=True)
class Told:
    """One answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, code: str | int, message: str = "", **headers: str) -> Told:
    body = json.dumps({"error_code": code, "message": message}).encode()
    return Told(status, body, {"Content-Type": "application/json", **headers})


class Manners:
    """How a service answers; the plain one passes everything on."""

    root = _ROOT.decode()
    """Where it says that artifacts are."""
    prefix = ""
    """Of the paths of its interface."""

    def __init__(self) -> None:
        self.seen: list[Asked] = []
        self.broken: Callable[[Asked], Told | None] = lambda asked: None
        """A test's own rule, before the others."""

    def rule(self, asked: Asked) -> Told | None:
        """Return its own answer, or None where MLflow's stands."""
        return None


class Databricks(Manners):
    """Managed MLflow of Databricks.

    - A bearer token; another one is told 403 with a *number* as code
      (github.com/databricks/databricks-sdk-go/issues/873).
    - The name of an experiment is an absolute path of the workspace
      (github.com/mlflow/mlflow/issues/8269).
    - An unknown path is ENDPOINT_NOT_FOUND as JSON, `/version` among them, and the newest ways to
      traces where a workspace lacks them (github.com/mlflow/mlflow/pull/17893).
    - Artifacts are at `dbfs:/databricks/mlflow-tracking` and come and go by signed addresses, for
      which its own token must not be sent to the store (mlflow's DatabricksArtifactRepository). The
      newer way by its Files API is closed here, as in workspaces that lack it.
    - Params of 6,000 and tags of 5,000 bytes (docs.databricks.com, REST reference of runs).
    """

    root = "dbfs:/databricks/mlflow-tracking/"

    def __init__(self, files: Path) -> None:
        super().__init__()
        self.files, self.address = files, ""

    def rule(self, asked: Asked) -> Told | None:
        if asked.path.startswith("/signed/"):
            return self._signed(asked)
        if asked.path.startswith("/.well-known/"):
            return Told(404)
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return error(403, 403, "Invalid access token.")
        if not asked.path.startswith(("/api/2.0/mlflow/", "/api/3.0/mlflow/")):
            return error(404, "ENDPOINT_NOT_FOUND", f"No API found for '{asked.path}'")
        part = asked.path.removeprefix("/api/2.0/mlflow/")
        match part:
            case "experiments/create" if not asked.said["name"].startswith("/"):
                return error(400, "INVALID_PARAMETER_VALUE", "Got an invalid experiment name")
            case "runs/log-batch" if _too_long(asked.said):
                return error(400, "INVALID_PARAMETER_VALUE", "too long")
            case "artifacts/credentials-for-read" | "artifacts/credentials-for-write":
                return self._credentials(asked.said)
            case "artifacts/list":
                return self._list(asked.query["run_id"])
        return None

    def _credentials(self, said: dict[str, Any]) -> Told:
        infos = [
            {
                "run_id": said["run_id"],
                "path": path,
                "signed_uri": f"{self.address}/signed/{said['run_id']}/{path}?signature=s",
                "type": "AWS_PRESIGNED_URL",
                "headers": [],
            }
            for path in said["path"]
        ]
        return _json({"credential_infos": infos})

    def _list(self, run_id: str) -> Told:
        found = sorted((self.files / run_id).glob("*"))
        files = [{"path": f.name, "is_dir": False, "file_size": f.stat().st_size} for f in found]
        return _json({"files": files})

    def _signed(self, asked: Asked) -> Told:
        """The object store: it takes a signature, and a token beside it for an error."""
        if "Authorization" in asked.headers:
            return Told(400, b"Only one auth mechanism allowed")
        file = self.files / unquote(asked.path.removeprefix("/signed/"))
        if asked.method == "PUT":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(asked.body)
            return Told(200)
        return Told(200, file.read_bytes()) if file.exists() else Told(404)


class SageMaker(Manners):
    """A tracking server of Amazon SageMaker.

    - Every request is signed by Signature Version 4 for the service `sagemaker-mlflow`, and names
      its tracking server in a header (docs.aws.amazon.com/sagemaker, "Integrate MLflow with your
      environment"; github.com/aws/sagemaker-mlflow). The signature is computed again here.
    - Artifacts are in a bucket of one's own, which clients reach directly.
    - An older server than the client is common: 3.0 knows no assessments under /api/3.0.
    """

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self.root = f"{bucket}/"

    def rule(self, asked: Asked) -> Told | None:
        if not _is_signed(asked) or asked.headers.get("x-mlflow-sm-tracking-server-arn") != ARN:
            return Told(403, b'{"message": "The request signature we calculated does not match"}')
        if "/assessments" in asked.path:
            return Told(404, b"<!doctype html><title>404 Not Found</title>")
        return None


class AzureML(Manners):
    """A workspace of Azure Machine Learning.

    - Its interface is below a long path of the workspace; a bearer token of Entra
      (learn.microsoft.com, "Use MLflow REST with Azure Machine Learning").
    - No LIKE in a search, and no renaming of experiments (the same, "Query & compare experiments
      and runs with MLflow", its support matrix).
    - Newer requests than MLflow 2 knew are 404 with an empty body
      (github.com/Azure/azure-sdk-for-python/issues/44896): traces, logged models.
    """

    prefix = "/mlflow/v1.0/subscriptions/s/resourceGroups/g/providers/w/workspaces/ours"

    def rule(self, asked: Asked) -> Told | None:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Told(
                401, b'{"error": {"code": "UserError", "message": "Authentication failed"}}'
            )
        part = asked.path.removeprefix("/api/")
        if part.startswith(("3.0/", "2.0/mlflow/traces", "2.0/mlflow/logged-models")):
            return Told(404)
        if part == "2.0/mlflow/experiments/update" or asked.path == "/version":
            return Told(404)
        if part.endswith("s/search") and " LIKE " in asked.said.get("filter", ""):
            return Told(400, b'{"error": {"code": "UserError", "message": "Unsupported operator"}}')
        return None


def _too_long(said: dict[str, Any]) -> bool:
    limits = {"params": 6000, "tags": 5000}
    return any(
        len(one["value"].encode()) > limit
        for name, limit in limits.items()
        for one in said.get(name, [])
    )


def _json(body: dict[str, Any]) -> Told:
    return Told(200, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _is_signed(asked: Asked) -> bool:
    """Whether a request carries the signature that its key makes of it."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    said = asked.headers.get("Authorization", "")
    if not said.startswith(f"AWS4-HMAC-SHA256 Credential={KEY_ID}/"):
        return False
    scope, names = (
        said.partition(f"{mark}=")[2].split(",")[0] for mark in ("Credential", "SignedHeaders")
    )
    if not scope.endswith("/us-east-1/sagemaker-mlflow/aws4_request"):
        return False
    headers = {name: asked.headers[name] for name in names.split(";")}
    auth = SigV4Auth(Credentials(KEY_ID, SECRET), "sagemaker-mlflow", "us-east-1")
    request = AWSRequest(
        asked.method, f"http://{asked.headers['Host']}{asked.target}", headers, asked.body
    )
    request.context["timestamp"] = asked.headers["X-Amz-Date"]
    text = auth.string_to_sign(request, auth.canonical_request(request))
    return said.endswith(f"Signature={auth.signature(text, request)}")


# --- the proxy --------------------------------------------------------------------------


class Proxy(ThreadingHTTPServer):
    daemon_threads = True
    manners: Manners
    upstream: int

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        manners = self.server.manners
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.path.removeprefix(manners.prefix)
        # What is signed is the target as sent; no service with a prefix signs.
        asked = Asked(self.command, target, self.headers, body)  # type: ignore[arg-type]
        manners.seen.append(asked)
        told = manners.broken(asked) or manners.rule(asked) or self._passed_on(asked)
        self.send_response(told.status)
        for name, value in {**told.headers, "Content-Length": str(len(told.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(told.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815  (the library's names)

    def _passed_on(self, asked: Asked) -> Told:
        root = self.server.manners.root.encode()
        upstream = HTTPConnection("127.0.0.1", self.server.upstream, timeout=60)
        headers = {"Content-Type": asked.headers.get("Content-Type") or "application/json"}
        upstream.request(
            asked.method, asked.target, asked.body.replace(root, _ROOT) or None, headers
        )
        answer = upstream.getresponse()
        body, kind = answer.read(), answer.headers.get("Content-Type", "")
        upstream.close()
        if "json" in kind:
            body = body.replace(_ROOT, root)
        return Told(answer.status, body, {"Content-Type": kind})

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def a_proxy(manners: Manners, upstream: int) -> Iterator[Proxy]:
    server = Proxy(("127.0.0.1", 0), _Handler)
    server.manners, server.upstream = manners, upstream
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def a_mlflow(folder: Path) -> Iterator[int]:
    """Start a real MLflow that hands files on itself; yield its port."""
    port = a_free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with (folder / "server.log").open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={
                **os.environ,
                **mlflow_server.QUIET,
                "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield port
        finally:
            # MLflow's own process starts the one that listens.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


# --- whole installations ----------------------------------------------------------------


@contextmanager
def databricks_place(folder: Path) -> Iterator[servers.Part]:
    folder.mkdir()
    manners = Databricks(folder / "signed")
    with a_mlflow(folder) as upstream, a_proxy(manners, upstream) as proxy:
        manners.address = proxy.uri
        yield servers.Part(
            uri="databricks",
            environment={
                "DDX_TRACKING_URI": "databricks",
                "DATABRICKS_HOST": proxy.uri,
                "DATABRICKS_TOKEN": TOKEN,
            },
        )


@contextmanager
def sagemaker_place(folder: Path) -> Iterator[servers.Part]:
    folder.mkdir()
    with (
        a_mlflow(folder) as upstream,
        a_proxy(SageMaker("s3://bucket/theirs"), upstream) as proxy,
        servers.s3(folder / "objects") as objects,
    ):
        more = {"DDX_TRACKING_URI": ARN, "SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT": proxy.uri}
        yield servers.Part(uri=ARN, environment=objects.environment | more)
