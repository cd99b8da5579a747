"""Settings: where values come from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ddx.core.callers import Role
from ddx.errors import SettingsError
from ddx.settings import Settings, about, find_home, load
from ddx.settings.oidc import claim_rules


def loaded(home: Path, toml: str = "", mlflow: str | None = None, **env: str) -> Settings:
    (home / "ddx.toml").write_text(toml)
    if mlflow is not None:
        (home / "mlflow_server_config.py").write_text(mlflow)
    return load(env, home)


def test_a_default_is_overridden_by_the_file_and_that_by_the_environment(tmp_path: Path) -> None:
    assert loaded(tmp_path).port == 8000
    assert loaded(tmp_path, "port = 8001").port == 8001
    settings = loaded(tmp_path, "port = 8001", DDX_PORT="8002")
    assert settings.port == 8002
    assert ("port", 8002, "DDX_PORT") in settings.shown()


@pytest.mark.parametrize(
    ("toml", "env", "advice"),
    [
        ("prot = 1", {}, "did you mean port?"),
        ("", {"DDX_PROT": "1"}, "did you mean DDX_PORT?"),
        ("[models.mine]\nengine = 'knowledge'\ntemprature = 1.0", {}, "did you mean temperature?"),
        ("default_model = 'knowlege'", {}, "did you mean knowledge?"),
        ("port = 'many'", {}, "port must be a whole number"),
        ("port = true", {}, "port must be a whole number"),
        ("port = 6000", {}, "browsers refuse"),
        ("port = 70000", {}, "from 1 to 65535"),
        ("", {"DDX_BENCH_MODELS": "perhaps"}, "true or false"),
        ("delivery = 'post'", {}, "one of auto, client, bulk"),
        ("journal = 'memory'", {}, "bench_models"),
        ("[models.mine]\nengine = 'magic'", {}, "one of knowledge, dspy, instant"),
        ("[models.mine]\nengine = 'dspy'", {}, "llm"),
        ("[models.mine]\nengine = 'knowledge'\nprompt = 99", {}, "no prompt 99"),
        ("[models.mine]\nengine = 'knowledge'\ntimeout_s = 'x'", {}, "timeout_s"),
        ("[prompts.one]\nname = 'x'\ntext = 'y'", {}, "whole number"),
        ("[prompts.7]\nname = 'x'", {}, "name and text"),
        ("instance = '../x'", {}, "letters"),
        ("port = ", {}, "not valid TOML"),
        ("privacy = 'on'", {}, "one of off, mask"),
        ("tracing = 'otlp'", {}, "one of off, mlflow"),
        ("tracing = 'mlflow'\ntracking_uri = 'databricks'", {}, "http:// or https://"),
        ("otlp_endpoint = 'localhost:4318'", {}, "http://127.0.0.1:4318"),
        ("[models.knowledge]\nfallback = 'gemini'", {}, "did you mean"),
        ("[models.knowledge]\nfallback = 'knowledge'", {}, "another model"),
        ("[models.knowledge]\nmax_concurrency = 0", {}, "max_concurrency"),
        ("[models.knowledge]\ncall_timeout_s = 'x'", {}, "call_timeout_s"),
        ("master_key_env = 'A'\nmaster_key_file = 'b'", {}, "by one of them"),
        ("master_key_file = 'ddx_data/keys/m.key'", {}, "must not be in data_dir"),
        ("master_key_command = 5", {}, "list of words"),
        ("master_key_command = ['kms', 5]", {}, "list of words"),
        ("", {"DDX_MASTER_KEY_COMMAND": "kms 'open"}, "list of words"),
        ("[models.knowledge]\ncpu_ms = 5", {}, "of the engine instant"),
        ("[models.mine]\nengine = 'instant'\ncpu_ms = -1", {}, "cpu_ms"),
        ("workers = 0", {}, "workers"),
        ("journal = 'memory'\nbench_models = true\nworkers = 2", {}, "of one process"),
        ("claims_uri = 'sqlite:///claims.db'", {}, "postgresql://"),
        ("claims_key_file = 'nowhere.key'", {}, "no file nowhere.key"),
        ("prices = 1", {}, "must be tables"),
        ("[prices.'a/b']\ninput = 1.0", {}, "needs input and output"),
        ("[prices.'a/b']\ninput = 1\noutput = 2\ncahced = 3", {}, "did you mean cached?"),
        ("[prices.'a/b']\ninput = -1\noutput = 2", {}, "from 0 on"),
        ("oidc_audience = 'ddx'", {}, "oidc_audience needs oidc_issuer"),
        ("oidc_running = 3", {}, "oidc_running needs oidc_issuer"),
    ],
)
def test_what_cannot_work_is_refused_with_advice(
    tmp_path: Path, toml: str, env: dict[str, str], advice: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(advice)):
        loaded(tmp_path, toml, **env)


def test_a_command_is_words_in_the_file_and_a_line_in_the_environment(tmp_path: Path) -> None:
    wanted = ("kms", "--key", "a b")
    assert loaded(tmp_path, "master_key_command = ['kms', '--key', 'a b']").master_key_command == (
        wanted
    )
    line = loaded(tmp_path, DDX_MASTER_KEY_COMMAND="kms --key 'a b'")
    assert line.master_key_command == wanted
    assert ("master_key_command", "kms --key 'a b'", "DDX_MASTER_KEY_COMMAND") in line.shown()


def test_the_variable_of_the_master_key_may_be_named_like_a_setting(tmp_path: Path) -> None:
    for toml, env in (
        ("master_key_env = 'DDX_MASTER_KEY'", {}),
        ("", {"DDX_MASTER_KEY_ENV": "DDX_MASTER_KEY"}),
    ):
        found = loaded(tmp_path, toml, DDX_MASTER_KEY="s3cret", **env)
        assert found.master_key_env == "DDX_MASTER_KEY"
        assert "s3cret" not in str(found.shown())
    with pytest.raises(SettingsError, match="DDX_MASTER_KEY"):
        loaded(tmp_path, DDX_MASTER_KEY="s3cret")


ISSUER = {
    "DDX_OIDC_ISSUER": "https://login.example.org/realms/clinic",
    "DDX_OIDC_AUDIENCE": "ddx",
    "DDX_OIDC_ROLES_CLAIM": "realm_access.roles",
}


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"audience": None}, "needs oidc_audience"),
        ({"roles_claim": None}, "oidc_roles_claim or oidc_default_roles"),
        ({"issuer": "http://login.example.org"}, "https address"),
        ({"issuer": "http://127.0.0.1.example.org"}, "https address"),
        ({"issuer": "file:///etc/passwd"}, "https address"),
        ({"issuer": "login.example.org"}, "https address"),
        ({"issuer": "https://login.example.org:port"}, "no address"),
        ({"issuer": "https://me:pw@login.example.org"}, "without user, query or fragment"),
        ({"issuer": "https://login.example.org/?x=1"}, "without user, query or fragment"),
        ({"issuer": "https://a.example/.well-known/openid-configuration"}, "is the address before"),
        ({"ca_file": "none.pem"}, "there is no file none.pem"),
        ({"tenant": "North"}, "'North' is no tenant"),
        ({"tenant_claim": "hd", "tenant_names": "example.org=St. Mary"}, "is no tenant"),
        ({"tenant_names": "example.org=north"}, "needs oidc_tenant_claim"),
        ({"tenant_claim": "hd", "tenant_names": "example.org"}, "must be pairs"),
        ({"role_names": "Doctors="}, "must be pairs"),
        ({"role_names": "Doctors=predcit"}, "did you mean predict?"),
        ({"default_roles": "predict,raed"}, "did you mean read?"),
        ({"default_roles": "predict, admin"}, "must not hold admin"),
        ({"rate_per_minute": "-1"}, "at least 0"),
    ],
)
def test_an_issuer_that_could_not_be_trusted_is_refused_with_advice(
    tmp_path: Path, changed: dict[str, str | None], advice: str
) -> None:
    named = {f"DDX_OIDC_{name.upper()}": value for name, value in changed.items()}
    env = {name: value for name, value in (ISSUER | named).items() if value is not None}
    with pytest.raises(SettingsError, match=re.escape(advice)):
        loaded(tmp_path, **env)


def test_an_issuers_claims_are_read_as_the_settings_say(tmp_path: Path) -> None:
    more = {
        "DDX_OIDC_TENANT_CLAIM": "hd",
        "DDX_OIDC_TENANT_NAMES": "example.org=north, example.net = south",
        "DDX_OIDC_ROLE_NAMES": "CN=Doctors=predict, CN=Doctors=label,Ward 3=read",
        "DDX_OIDC_DEFAULT_ROLES": "predict, read",
    }
    found = claim_rules(loaded(tmp_path, **ISSUER, **more))
    assert found.tenant_names == {"example.org": "north", "example.net": "south"}
    assert found.role_names == {
        "CN=Doctors": {Role.PREDICT, Role.LABEL},
        "Ward 3": {Role.READ},
    }
    assert found.default_roles == {Role.PREDICT, Role.READ}
    assert found.roles_prefix == "ddx-"


def test_an_issuer_on_this_machine_may_do_without_tls(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "localhost", "[::1]"):
        here = ISSUER | {"DDX_OIDC_ISSUER": f"http://{host}:8080/realms/clinic"}
        assert loaded(tmp_path, **here).oidc_issuer


MINE = "[models.mine]\nengine = 'dspy'\nllm = 'openai/x'\n"


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "key.txt").write_text("from the file\n")
    toml = MINE + "api_key_env = 'MY_KEY'\napi_key_file = 'key.txt'"
    plain, named = loaded(tmp_path, toml), loaded(tmp_path, toml, MY_KEY="from the environment")
    assert plain.api_key(plain.models["mine"]) == "from the file"
    assert named.api_key(named.models["mine"]) == "from the environment"
    assert "from the file" not in repr(plain)


def test_a_file_that_is_not_there_holds_no_key(tmp_path: Path) -> None:
    settings = loaded(tmp_path, MINE + "api_key_file = 'no.txt'")
    model = settings.models["mine"]
    assert model.needs_key
    assert settings.api_key(model) is None
    assert model.key_places == "in the file no.txt"


def test_a_key_comes_from_the_keyring(tmp_path: Path) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Ring(KeyringBackend):  # type: ignore[misc]
        priority = 1.0

        def get_password(self, service: str, username: str) -> str | None:
            return "from the keyring" if (service, username) == ("ddx", "openai") else None

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        settings = loaded(tmp_path, MINE + "api_key_keyring = 'ddx/openai'")
        assert settings.api_key(settings.models["mine"]) == "from the keyring"
    finally:
        keyring.set_keyring(before)


def test_a_price_that_the_user_knows_is_taken(tmp_path: Path) -> None:
    settings = loaded(tmp_path, "[prices.'openai/x']\ninput = 1\noutput = 2.5")
    price = settings.prices["openai/x"]
    assert (price.input, price.output, price.cached) == (1.0, 2.5, None)


def test_relative_paths_start_at_the_settings_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = 'db_uri = "sqlite:///store/m.db"\nartifacts_path = "store/files"\n'
    settings = loaded(tmp_path, mlflow=config)
    assert settings.db_uri == f"sqlite:///{tmp_path}/store/m.db"
    assert settings.artifacts_path == f"{tmp_path}/store/files"
    assert settings.data == tmp_path / "ddx_data"


def test_remote_stores_are_taken_as_they_are(tmp_path: Path) -> None:
    config = 'db_uri = "postgresql://u:pw@db/m"\nartifacts_path = "s3://bucket/x"\n'
    settings = loaded(tmp_path, mlflow=config)
    assert settings.db_uri == "postgresql+psycopg://u:pw@db/m"
    assert settings.artifacts_path == "s3://bucket/x"
    assert "pw" not in str(settings.shown())


def test_a_config_file_that_does_not_run_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"mlflow_server_config\.py does not run"):
        loaded(tmp_path, mlflow="db_uri = undefined_name")
    with pytest.raises(SettingsError, match="db_uri must be a text"):
        loaded(tmp_path, mlflow="db_uri = 5")


def test_an_entry_of_ours_is_changed_key_by_key(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[models."gemini-2.0-flash"]\ntemperature = 0')
    model = settings.models["gemini-2.0-flash"]
    assert (model.temperature, model.max_tokens) == (0.0, 10_000)
    assert isinstance(model.temperature, float)


def test_the_shipped_prompts_are_the_four_that_the_manual_names(tmp_path: Path) -> None:
    prompts = loaded(tmp_path).prompts
    assert list(prompts) == [0, 1, 2, 3]
    assert len({p.digest for p in prompts.values()}) == 4


def test_a_secret_is_not_printed(tmp_path: Path) -> None:
    settings = loaded(tmp_path, GEMINI_API_KEY="s3cret")
    assert settings.api_key(settings.models["gemini-2.0-flash"]) == "s3cret"
    assert "s3cret" not in repr(settings) + str(settings.shown())


def test_the_home_is_the_nearest_folder_upwards_with_a_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ddx.toml").write_text("")
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert find_home({}) == tmp_path
    assert find_home({"DDX_HOME": str(tmp_path / "a")}) == tmp_path / "a"
    with pytest.raises(SettingsError, match="no folder"):
        find_home({"DDX_HOME": str(tmp_path / "gone")})


def test_every_setting_says_what_it_is() -> None:
    assert all(description for _, _, description in about())


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("models = 3", "tables"),
        ("[models]\nknowledge = 'x'", "tables"),
        ("prompts = []", "tables"),
        ("[prompts]\n0 = 'text'", "tables"),
        ("shutdown_grace_s = inf", "shutdown_grace_s must be a finite number"),
        ("body_timeout_s = nan", "body_timeout_s must be a finite number"),
        ("max_running = 0", "max_running must be at least 1"),
        ("engine_threads = -1", "engine_threads must be at least 1"),
        ("max_body_bytes = 0", "max_body_bytes must be at least"),
        ("[models.knowledge]\ntimeout_s = 0", "timeout_s must be at least"),
        ("[models.local]\ntemperature = 9.0", "temperature must be at most 2"),
        ("[models.local]\nmax_tokens = -4", "max_tokens must be at least 1"),
        ("[models.local]\ntop_k = 0", "top_k must be at least 1"),
        ("mlflow_port = 8000", "must differ"),
        ("host = ''", "host must not be empty"),
        ("data_dir = ''", "data_dir must not be empty"),
        ("data_dir = '.'", "folder of its own"),
        ("tracking_uri = 'nonsense'", "tracking_uri must be MLflow's address"),
        ("tracking_uri = 'http://'", "tracking_uri must be MLflow's address"),
        ("mlflow_tls_cert_file = 'ddx.toml'", "mlflow_tls_key_file go together"),
        ("mlflow_tls_ca_file = 'ddx.toml'", "mlflow_tls_ca_file needs mlflow_tls_cert_file"),
        (
            "mlflow_tls_cert_file = 'ddx.toml'\nmlflow_tls_key_file = 'none.pem'",
            "mlflow_tls_key_file: there is no file none.pem",
        ),
        ("mlflow_public_url = 'mlflow.example.org'", "mlflow_public_url must be an address"),
        ("experiment_folder = '/Shared/ddx'", "for the MLflow that tracking_uri names"),
        ("tracking_uri = 'databricks'\nexperiment_folder = 'ddx'", "must be an absolute path"),
        ("tracking_uri = 'databricks'\nexperiment_folder = '/'", "must be an absolute path"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_its_name(
    tmp_path: Path, toml: str, said: str
) -> None:
    (tmp_path / "ddx.toml").write_text(toml)
    with pytest.raises(SettingsError, match=said):
        load({}, tmp_path)


@pytest.mark.parametrize(
    ("python", "said"),
    [
        ("import sys; sys.exit(3)", "does not run: SystemExit"),
        ("db_uri = 'foo'", "db_uri must be a database's address"),
        ("db_uri = 'sqlite:///:memory:'", "a database in memory is lost"),
        ("db_uri = 'sqlite://'", "a database in memory is lost"),
        ("db_url = 'sqlite:///x.db'", "did you mean db_uri"),
        ("artifact_path = 'x'", "did you mean artifacts_path"),
    ],
)
def test_a_slip_in_the_tracking_servers_file_is_said(
    tmp_path: Path, python: str, said: str
) -> None:
    (tmp_path / "mlflow_server_config.py").write_text(python)
    with pytest.raises(SettingsError, match=said):
        load({}, tmp_path)


def test_helpers_in_the_tracking_servers_file_are_nobodys_business(tmp_path: Path) -> None:
    (tmp_path / "mlflow_server_config.py").write_text(
        "import os\nhost = 'db.internal'\n_db_password = 'x'\n"
        "db_uri = f'postgresql://ddx:{_db_password}@{host}/mlflow'\n"
        "artifacts_path = '~/runs'\n"
    )
    found = load({}, tmp_path)
    assert found.db_uri == "postgresql+psycopg://ddx:x@db.internal/mlflow"
    assert found.artifacts_path == str(Path("~/runs").expanduser())


def test_no_password_is_shown(tmp_path: Path) -> None:
    (tmp_path / "mlflow_server_config.py").write_text(
        "db_uri = 'postgresql://u:sec1@h/db?password=sec2&sslmode=require'\n"
    )
    found = load({"DDX_TRACKING_URI": "http://user:sec3@h:5000?access_token=sec4"}, tmp_path)
    shown = {name: str(value) for name, value, _ in found.shown()}
    assert "sec" not in shown["db_uri"].replace("sslmode", "")
    assert "sec" not in shown["tracking_uri"]
    assert "sslmode=require" in shown["db_uri"]


@pytest.mark.parametrize(
    ("tracking_uri", "set_to", "folder"),
    [
        ("", "", ""),
        ("https://mlflow.example.org", "", ""),
        ("https://mlflow.example.org", "/Teams/ddx/", "/Teams/ddx"),
        ("databricks", "", "/Shared"),
        ("databricks://PROFILE", "/Users/ddx", "/Users/ddx"),
    ],
)
def test_only_on_databricks_or_as_set_are_experiments_in_a_folder(
    tmp_path: Path, tracking_uri: str, set_to: str, folder: str
) -> None:
    env = {"DDX_TRACKING_URI": tracking_uri, "DDX_EXPERIMENT_FOLDER": set_to}
    found = load({name: value for name, value in env.items() if value}, tmp_path)
    assert found.experiments_in == folder


def test_a_hybrids_table_says_only_what_differs_from_its_llm(tmp_path: Path) -> None:
    settings = loaded(tmp_path, '[models."gemini-2.0-flash+knowledge"]\ntemperature = 0.1')
    llm, hybrid = (settings.models[f"gemini-2.0-flash{end}"] for end in ("", "+knowledge"))
    assert (hybrid.llm, hybrid.knowledge, hybrid.temperature) == (llm.llm, True, 0.1)
    assert not llm.knowledge


@pytest.mark.parametrize(
    ("toml", "uri"),
    [
        ("", "http://127.0.0.1:5000"),
        ("mlflow_host = '0.0.0.0'", "http://127.0.0.1:5000"),
        ("mlflow_host = '::1'", "http://[::1]:5000"),
        ("mlflow_public_url = 'https://mlflow.example.org'", "http://127.0.0.1:5000"),
        ("{tls}", "https://127.0.0.1:5000"),
        ("mlflow_host = 'mlflow.lan'\n{tls}", "https://mlflow.lan:5000"),
        (
            "mlflow_public_url = 'https://mlflow.example.org'\n{tls}",
            "https://mlflow.example.org:5000",
        ),
    ],
)
def test_mlflow_is_reached_under_a_name_that_its_certificate_has(
    tmp_path: Path, toml: str, uri: str
) -> None:
    tls = "mlflow_tls_cert_file = 'ddx.toml'\nmlflow_tls_key_file = 'ddx.toml'"
    assert loaded(tmp_path, toml.format(tls=tls)).mlflow_uri == uri
