"""A move of MLflow's rows that is cut off, that meets other rows, that cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.tracking_server import a_free_port

pytest.importorskip("mlflow", reason="needs the extra `tracking`")

from ddx.adapters.mlflow_runs import library, moving, moving_files
from ddx.adapters.mlflow_runs.database import unreached
from ddx.errors import CloudUnavailable, DatabaseUnavailable, MoveRefused


@pytest.fixture
def old(tmp_path: Path) -> str:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    uri = f"sqlite:///{tmp_path}/old.db"
    client = MlflowClient(uri)
    experiment = client.create_experiment("ddx-server-tracking", artifact_location="/nowhere/1")
    for number in range(3):
        run = client.create_run(experiment, tags={"wörld": "„quoted“"}).info.run_id
        client.log_batch(
            run,
            metrics=[Metric("cost_total", number / 7, 1, 0), Metric("odd", float("nan"), 1, 0)],
            params=[Param("a", "b" * number)],
        )
    client.create_registered_model("program")
    return uri


def said(_: str) -> None:
    pass


def test_every_row_is_there_and_the_next_experiment_gets_the_next_id(
    old: str, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    new = f"sqlite:///{tmp_path}/new.db"
    rows = {one.table: one.rows for one in moving.move(old, new, tmp_path / "state", said)}
    assert (rows["runs"], rows["metrics"], rows["params"]) == (3, 6, 3)
    assert rows["registered_models"] == 1
    before, after = MlflowClient(old), MlflowClient(new)
    for run in before.search_runs(["1"]):
        assert after.get_run(run.info.run_id).to_dictionary()["data"]["tags"] == run.data.tags
    assert after.create_experiment("another") == "2"
    assert not (tmp_path / "state").exists()


def test_a_move_that_was_cut_off_goes_on_where_it_was(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, state = f"sqlite:///{tmp_path}/new.db", tmp_path / "state"
    monkeypatch.setattr(moving, "_ROWS", 1)
    insert, seen, cutting = moving._insert, [], [True]

    def cut(connection: Any, table: Any, rows: list[Any]) -> None:
        insert(connection, table, rows)
        seen.append(table.name)
        if cutting and table.name == "metrics" and seen.count("metrics") == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(moving, "_insert", cut)
    with pytest.raises(KeyboardInterrupt):
        moving.move(old, new, state, said)
    seen.clear()
    cutting.clear()
    rows = {one.table: one.rows for one in moving.move(old, new, state, said)}
    assert rows["metrics"] == 6
    assert "runs" not in seen, "what was done is not done again"


def test_rows_that_somebody_else_wrote_are_found(old: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    new, state = f"sqlite:///{tmp_path}/new.db", tmp_path / "state"
    MlflowClient(new).create_experiment("theirs")
    with pytest.raises(MoveRefused, match="name an empty one"):
        moving.move(old, new, state, said)


def test_a_change_meanwhile_is_a_difference(
    old: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    new, state, copy = f"sqlite:///{tmp_path}/new.db", tmp_path / "state", moving._copy

    def changing(pair: Any, table: Any, done: Any, state: Any) -> None:
        copy(pair, table, done, state)
        if table.name == "registered_models":
            MlflowClient(old).create_registered_model("another")

    monkeypatch.setattr(moving, "_copy", changing)
    with pytest.raises(MoveRefused, match="registered_models differs"):
        moving.move(old, new, state, said)


def test_a_database_without_mlflows_tables_is_no_source(tmp_path: Path) -> None:
    import sqlite3

    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(MoveRefused, match="no tables of MLflow"):
        moving.move(
            f"sqlite:///{tmp_path}/empty.db", f"sqlite:///{tmp_path}/n.db", tmp_path / "s", said
        )


def test_a_database_that_does_not_answer_is_said_as_that(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    away = f"postgresql+psycopg://ddx@127.0.0.1:{a_free_port()}/mlflow"
    with pytest.raises(DatabaseUnavailable) as told:
        moving.move(away, f"sqlite:///{tmp_path}/new.db", tmp_path / "state", said)
    assert "Start the database" in told.value.advice


def test_a_store_without_credentials_is_said_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    boto3 = pytest.importorskip("boto3")
    # It keeps the credentials that it finds, for whoever comes later.
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{a_free_port()}")
    root = tmp_path / "files"
    (root / "1" / "run" / "artifacts").mkdir(parents=True)
    (root / "1" / "run" / "artifacts" / "case.txt").write_text("a case")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MlflowClient(uri).create_experiment("ddx-server-tracking", artifact_location=f"{root}/1")

    def move() -> None:
        moving_files.move_files(uri, "s3://bucket/files", tmp_path / "state", said)

    with pytest.raises(CloudUnavailable, match="credentials"):
        move()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    # MLflow keeps a client for each address.
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{a_free_port()}")
    with pytest.raises(CloudUnavailable, match="nothing answers"):
        move()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("botocore.exceptions", "NoCredentialsError"),
        ("botocore.exceptions", "PartialCredentialsError"),
        ("botocore.exceptions", "EndpointConnectionError"),
        ("google.auth.exceptions", "DefaultCredentialsError"),
        ("azure.identity", "CredentialUnavailableError"),
        ("azure.core.exceptions", "ClientAuthenticationError"),
        ("azure.core.exceptions", "ServiceRequestError"),
    ],
)
def test_each_cloud_that_lets_nobody_in_is_said_as_that(module: str, name: str) -> None:
    kind = getattr(pytest.importorskip(module), name)
    told = kind("why") if not module.startswith("botocore") else kind(**BOTO)
    with pytest.raises(CloudUnavailable, match="looking: "), library.translated("looking"):
        raise RuntimeError from told


BOTO = {"provider": "env", "cred_var": "secret", "endpoint_url": "http://away", "error": "gone"}


@pytest.mark.parametrize(
    ("module", "name", "args", "away"),
    [
        ("psycopg", "OperationalError", ("connection failed",), True),
        ("psycopg.errors", "AdminShutdown", (), True),
        ("psycopg.errors", "InvalidPassword", (), True),
        ("psycopg.errors", "SerializationFailure", (), False),
        ("psycopg.errors", "DiskFull", (), False),
        ("pymysql.err", "OperationalError", (2003, "refused"), True),
        ("pymysql.err", "OperationalError", (1045, "access denied"), True),
        ("pymysql.err", "OperationalError", (1213, "deadlock"), False),
        ("sqlite3", "OperationalError", ("database is locked",), False),
    ],
)
def test_a_database_that_is_away_is_told_from_one_that_refuses(
    module: str, name: str, args: tuple[object, ...], *, away: bool
) -> None:
    from sqlalchemy.exc import OperationalError

    driver = pytest.importorskip(module)
    assert unreached(OperationalError("", {}, getattr(driver, name)(*args))) is away
