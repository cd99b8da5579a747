"""Settings: where values come from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ddx.errors import SettingsError
from ddx.settings import Settings, about, find_home, load


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
    ],
)
def test_what_cannot_work_is_refused_with_advice(
    tmp_path: Path, toml: str, env: dict[str, str], advice: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(advice)):
        loaded(tmp_path, toml, **env)


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
    assert (settings.db_uri, settings.artifacts_path) == ("postgresql://u:pw@db/m", "s3://bucket/x")
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
    assert find_home({"DDX_HOME": "/elsewhere"}) == Path("/elsewhere")


def test_every_setting_says_what_it_is() -> None:
    assert all(description for _, _, description in about())
