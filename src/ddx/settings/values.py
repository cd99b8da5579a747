"""Everything that can be set."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ddx.adapters.http_probe import reachable
from ddx.core.prices import Price
from ddx.core.registry import Model, PromptConfig
from ddx.settings.keys import api_key
from ddx.settings.places import bracketed, mask_uri


def _setting(
    default: Any, about: str, *, least: float | None = None, most: float | None = None
) -> Any:
    return field(default=default, metadata={"about": about, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. Each field is a key of ddx.toml and a DDX_ variable."""

    host: str = _setting("127.0.0.1", "address the server listens on")
    port: int = _setting(8000, "port of the server")
    require_api_keys: bool = _setting(
        False, "let nobody in without an API key, also before the first one is made"
    )
    client_key_file: str = _setting(
        "", "file of the API key that commands send to a server, as `ddx evaluate --server` does"
    )
    tls_cert_file: str = _setting(
        "", "certificate of the server with its chain, PEM; read again when it changes"
    )
    tls_key_file: str = _setting("", "private key of that certificate, PEM")
    tls_client_ca_file: str = _setting(
        "", "authorities of clients' certificates, PEM: only who shows one of theirs gets in"
    )
    oidc_issuer: str = _setting(
        "", "issuer whose tokens callers may send beside API keys, as https://login.example.org"
    )
    oidc_audience: str = _setting("", "what the claim aud of such a token must name")
    oidc_ca_file: str = _setting(
        "", "authorities that are trusted for the issuer instead of the system's, PEM"
    )
    oidc_tenant: str = _setting("main", "tenant of a token, where no claim says it")
    oidc_tenant_claim: str = _setting("", "claim that says the tenant, with dots: ddx.tenant")
    oidc_tenant_names: str = _setting(
        "", "tenants by what that claim says, as example.org=north, example.net=south"
    )
    oidc_roles_claim: str = _setting("", "claim that names roles, with dots: realm_access.roles")
    oidc_roles_prefix: str = _setting("ddx-", "what stands before a role's name in that claim")
    oidc_role_names: str = _setting(
        "", "further names in that claim and their roles, as Doctors=predict, Doctors=label"
    )
    oidc_default_roles: str = _setting(
        "", "roles of a token that names none, with commas between; empty: it is refused"
    )
    oidc_rate_per_minute: float = _setting(
        0.0, "requests a minute of each caller by token; 0: any number", least=0
    )
    oidc_running: int = _setting(
        0, "requests that each caller by token has under way; 0: any number", least=0
    )
    behind_proxy: bool = _setting(
        False, "a proxy in front does TLS, so this server may listen beyond this machine without"
    )
    public_url: str = _setting(
        "", "address at which people reach this server, for links from MLflow"
    )
    mlflow_host: str = _setting("127.0.0.1", "address MLflow listens on, where we start it")
    mlflow_port: int = _setting(5000, "port of MLflow, where we start it")
    mlflow_secure: bool = _setting(
        False, "start MLflow with its own login, for one user whose password is made and kept"
    )
    mlflow_tls_cert_file: str = _setting(
        "",
        "certificate of the MLflow that we start, with its chain, PEM; a new one needs a restart",
    )
    mlflow_tls_key_file: str = _setting("", "private key of that certificate, PEM")
    mlflow_tls_ca_file: str = _setting(
        "", "authorities of that certificate, PEM; empty: those that every program trusts"
    )
    mlflow_public_url: str = _setting(
        "", "address at which people reach MLflow itself, where it listens beyond this machine"
    )
    tracking_uri: str = _setting("", "MLflow to deliver to; empty: the one that we start")
    experiment_folder: str = _setting(
        "", "folder of its experiments where their names are paths; empty: /Shared on Databricks"
    )
    delivery: str = _setting("auto", "door into MLflow: auto, client or bulk")
    deliverers: int = _setting(
        1, "processes that deliver; they share the journals out", least=1, most=64
    )
    legal_hold: str = _setting(
        "", "file of ids and trackers, one a line, that nothing erases; empty: there is none"
    )
    backup_recipients: str = _setting(
        "", "age recipients that every backup is encrypted to, with commas between"
    )
    ledger_uri: str = _setting(
        "", "artifact store that gets a copy of the ledger, s3://bucket/ledger or a folder"
    )
    master_key_file: str = _setting(
        "", "file of the master key that wraps the records' keys: one line, 32 bytes, base64 or hex"
    )
    master_key_env: str = _setting("", "name of the variable that holds the master key")
    master_key_command: tuple[str, ...] = _setting(
        (), "command, in words, that asks a key management service: it gets `wrap` or `unwrap`"
    )
    experiment_period: str = _setting(
        "", "month: an experiment of MLflow for each month; empty: one for all"
    )
    archive_uri: str = _setting(
        "ddx_data/archive", "where archived runs are kept: a folder, or s3://bucket/archive"
    )
    data_dir: str = _setting("ddx_data", "folder of journals, keys and delivery state")
    checkpoints_dir: str = _setting(
        "ddx_data/checkpoints", "folder of signed checkpoints of the journals; best on another disk"
    )
    instance: str = _setting("main", "name of this server process; each has its own journal")
    workers: int = _setting(
        1, "server processes that share the port; each has its own journal", least=1, most=256
    )
    claims_uri: str = _setting(
        "", "PostgreSQL that keeps the claims of trackers for servers on several machines"
    )
    claims_key_file: str = _setting(
        "",
        "file of the secret of those claims, the same on each machine; empty: of the data folder",
    )
    default_model: str = _setting("knowledge", "model of a request that names none")
    journal: str = _setting("sqlite", "sqlite, or memory (benchmarks only)")
    bench_models: bool = _setting(False, "allow the model `instant` and the journal `memory`")
    max_body_bytes: int = _setting(768 * 1024, "largest request body", least=1024)
    body_timeout_s: float = _setting(
        30.0, "time for a request body to arrive", least=0.1, most=3600
    )
    max_running: int = _setting(
        256, "predictions under way at once; more get 503", least=1, most=100000
    )
    max_batch_cases: int = _setting(1000, "cases of one batch", least=1, most=100000)
    max_batch_mb: float = _setting(16.0, "largest body of a batch, in MiB", least=0.001, most=1024)
    max_batches: int = _setting(
        16, "batches that wait or run at once; more get 503", least=1, most=1000
    )
    batch_running: int = _setting(4, "cases of batches that are asked at once", least=1, most=1000)
    engine_threads: int = _setting(32, "threads that wait for LLMs", least=1, most=1000)
    shutdown_grace_s: float = _setting(
        20.0, "time for running requests at shutdown", least=0, most=3600
    )
    max_backlog_mb: float = _setting(
        2048.0, "undelivered journal bytes before 503, in MiB", least=0.001
    )
    max_backlog_age_s: float = _setting(
        604800.0, "age of the oldest undelivered record before 503", least=1
    )
    disk_reserve_mb: float = _setting(
        256.0, "free disk below which requests get 503, in MiB", least=0
    )
    tracing: str = _setting("off", "off, or mlflow: a trace for each run, in MLflow")
    otlp_endpoint: str = _setting(
        "", "OpenTelemetry collector that gets the traces, as http://127.0.0.1:4318"
    )
    trace_content: bool = _setting(False, "put case, messages and reply into traces")
    privacy: str = _setting(
        "off", "off, or mask: names, numbers and addresses leave a case before anything keeps it"
    )
    privacy_regions: str = _setting(
        "IN", "countries whose phone numbers may lack their code, as IN,US"
    )
    mondo_url: str = _setting(
        "https://github.com/monarch-initiative/mondo/releases/latest/download",
        "where `ddx knowledge update` finds mondo.obo",
    )
    hpo_url: str = _setting(
        "https://github.com/obophenotype/human-phenotype-ontology/releases/latest/download",
        "where `ddx knowledge update` finds hp.obo and phenotype.hpoa",
    )
    ray_max_replicas: int = _setting(
        0,
        "replicas of `serve --engine ray` under load; 0: as many as `workers`",
        least=0,
        most=10000,
    )
    ray_node_replicas: int = _setting(
        0,
        "most replicas on one node, so that each node has its own again after it was away;"
        " 0: as many as fit",
        least=0,
        most=1000,
    )
    ray_running: int = _setting(
        32, "requests under way in a replica at which another one is wanted", least=1, most=100000
    )
    ray_engines: int = _setting(
        1, "replicas of the knowledge engine that all share; 0: one in each web replica", least=0
    )
    ray_address: str = _setting(
        "",
        "cluster of `--engine ray`: host:port, or auto for this machine's; empty: start one here",
    )
    log_level: str = _setting("info", "debug, info, warning or error")

    home: Path = field(default_factory=Path.cwd)
    """The folder of the settings files; relative paths start here."""
    db_uri: str = "sqlite:///mlflow_data/mlflow.db"
    """MLflow's backend store, with absolute paths."""
    artifacts_path: str = "mlflow_data/artifacts"
    """MLflow's artifact root: an absolute path or an object-store URI."""
    models: Mapping[str, Model] = field(default_factory=dict)
    prompts: Mapping[int, PromptConfig] = field(default_factory=dict)
    prices: Mapping[str, Price] = field(default_factory=dict)
    """Of models as called, before those that the program carries."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each value came from."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment as read, for the keys that models name."""

    @property
    def data(self) -> Path:
        """The data folder, absolute."""
        return self.home / self.data_dir

    @property
    def mlflow_uri(self) -> str:
        """Where clients reach MLflow. With TLS by the name that people use: its certificate has
        that one.
        """
        if self.tracking_uri:
            return self.tracking_uri
        tls = bool(self.mlflow_tls_cert_file)
        name = urlsplit(self.mlflow_public_url).hostname if tls else None
        host = name or reachable(self.mlflow_host)
        return f"{'https' if tls else 'http'}://{bracketed(host)}:{self.mlflow_port}"

    @property
    def experiments_in(self) -> str:
        """The folder before the names of experiments; empty where names are no paths."""
        standard = "/Shared" if self.tracking_uri.startswith("databricks") else ""
        return self.experiment_folder.rstrip("/") or standard

    @property
    def server_url(self) -> str:
        """Where clients reach this server."""
        scheme = "https" if self.tls_cert_file else "http"
        return f"{scheme}://{self.host}:{self.port}"

    def api_key(self, model: Model) -> str | None:
        """Return the model's key, or None where it needs none or has none."""
        return api_key(model, self.environment, self.home)

    def shown(self) -> list[tuple[str, Any, str]]:
        """Return (name, value, origin) of each setting, secrets masked, for people."""
        rows = [(f.name, getattr(self, f.name)) for f in settable()]
        rows = [(name, shlex.join(v) if isinstance(v, tuple) else v) for name, v in rows]
        rows = [(name, mask_uri(v) if isinstance(v, str) else v) for name, v in rows]
        rows += [
            ("db_uri", mask_uri(self.db_uri)),
            ("artifacts_path", mask_uri(self.artifacts_path)),
        ]
        return [(name, value, self.origins.get(name, "default")) for name, value in rows]


def settable() -> list[Field[Any]]:
    """Return the fields that can be set."""
    return [f for f in fields(Settings) if "about" in f.metadata]


def about() -> list[tuple[str, Any, str]]:
    """Return (name, default, description) of each setting, for the reference page."""
    return [(f.name, f.default, f.metadata["about"]) for f in settable()]
