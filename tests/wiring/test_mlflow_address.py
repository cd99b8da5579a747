"""Where MLflow may listen, and how we come in."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ddx import settings
from ddx.errors import SettingsError, UnsafeAddress
from ddx.wiring import mlflow_login, mlflow_place
from ddx.wiring.callers import check_mlflow_address

TLS = "mlflow_tls_cert_file = 'a.pem'\nmlflow_tls_key_file = 'a.pem'\n"
SECURE = "mlflow_secure = true\n"
NAMED = "mlflow_public_url = 'https://mlflow.example.org:5000'\n"
OWN = "127.0.0.1:5000,localhost:5000,[::1]:5000"


def a_home(home: Path, toml: str) -> settings.Settings:
    (home / "a.pem").write_text("")
    (home / "ddx.toml").write_text(toml)
    return settings.load({}, home)


@pytest.mark.parametrize(
    "toml", [TLS, SECURE, "behind_proxy = true\n", TLS + "behind_proxy = true\n"]
)
def test_mlflow_listens_beyond_this_machine_only_with_its_login_and_tls(
    tmp_path: Path, toml: str
) -> None:
    loaded = a_home(tmp_path, f"mlflow_host = '0.0.0.0'\n{NAMED}{toml}")
    with pytest.raises(UnsafeAddress, match="mlflow_tls_cert_file"):
        check_mlflow_address(loaded)


@pytest.mark.parametrize("toml", [SECURE + TLS, SECURE + "behind_proxy = true\n"])
def test_with_both_it_does_and_must_be_told_its_name(tmp_path: Path, toml: str) -> None:
    check_mlflow_address(a_home(tmp_path, f"mlflow_host = '0.0.0.0'\n{NAMED}{toml}"))
    check_mlflow_address(a_home(tmp_path, f"mlflow_host = 'mlflow.lan'\n{toml}"))
    with pytest.raises(SettingsError, match="mlflow_public_url"):
        check_mlflow_address(a_home(tmp_path, f"mlflow_host = '0.0.0.0'\n{toml}"))


@pytest.mark.parametrize(
    ("toml", "hosts"),
    [
        ("", OWN),
        ("mlflow_host = '0.0.0.0'\n", OWN),
        ("mlflow_host = 'Mlflow.lan'\n", f"{OWN},mlflow.lan:5000"),
        ("mlflow_host = '0.0.0.0'\n" + NAMED + TLS, f"{OWN},mlflow.example.org:5000"),
        (
            "mlflow_public_url = 'https://mlflow.example.org'\nmlflow_host = '10.0.0.5'\n",
            f"{OWN},10.0.0.5:5000,mlflow.example.org,mlflow.example.org:443",
        ),
    ],
)
def test_mlflow_is_told_the_names_that_lead_to_it_and_no_pattern(
    tmp_path: Path, toml: str, hosts: str
) -> None:
    told = mlflow_place.door(a_home(tmp_path, toml))
    assert told["MLFLOW_SERVER_ALLOWED_HOSTS"] == hosts
    assert told["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] == ""


def test_a_foreign_mlflow_is_not_told_of_our_authorities(tmp_path: Path) -> None:
    ours = a_home(tmp_path, TLS + "mlflow_tls_ca_file = 'a.pem'\n")
    ca = str(tmp_path / "a.pem")
    assert mlflow_login.for_clients(ours) == {"MLFLOW_TRACKING_SERVER_CERT_PATH": ca}
    theirs = "tracking_uri = 'https://mlflow.example.org'\n"
    foreign = a_home(tmp_path, theirs + TLS + "mlflow_tls_ca_file = 'a.pem'\n")
    assert mlflow_login.for_clients(foreign) == {}


def test_the_way_for_people_trusts_the_named_authorities_alone(tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    loaded = a_home(tmp_path, TLS + "mlflow_tls_ca_file = 'a.pem'\n")
    with pytest.raises(ssl.SSLError):  # the file holds none
        mlflow_login.proxy(loaded)
