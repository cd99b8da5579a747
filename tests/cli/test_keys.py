"""`ddx keys`, and the refusal to listen where its doors would be open."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from ddx.cli import run
from ddx.cli.exits import EXIT_CODE
from ddx.settings import load
from ddx.wiring import callers


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDX_HOME", str(tmp_path))
    return tmp_path


def ddx(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(list(arguments))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_key_is_shown_once_and_only_its_hash_is_kept(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ddx(capsys, "keys", "create", "--role", "predict", "--tenant", "north")
    token = out.strip()
    assert code == 0
    assert token.startswith("ddx_")
    assert "shown this once" in err
    file = home / "ddx_data" / "api_keys.json"
    assert token.rpartition("_")[2] not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    _, listed, _ = ddx(capsys, "keys", "list")
    assert "north/" in listed
    assert token not in listed


def test_keys_are_listed_rotated_and_revoked(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = json.loads(
        ddx(
            capsys,
            *("keys", "create", "--role", "read", "--role", "label", "--name", "web page"),
            *("--expires", "90d", "--rate", "60", "--running", "4", "--json"),
        )[1]
    )
    assert (made["roles"], made["name"], made["rate_per_minute"], made["running"]) == (
        ["label", "read"],
        "web page",
        60.0,
        4,
    )
    assert made["expires_at"] > made["created_at"]
    rotated = json.loads(ddx(capsys, "keys", "rotate", made["id"], "--json")[1])
    assert (rotated["id"], rotated["token"] != made["token"]) == (made["id"], True)
    short = made["id"].rpartition("/")[2]
    assert ddx(capsys, "keys", "revoke", short)[0] == 0
    (listed,) = json.loads(ddx(capsys, "keys", "list", "--json")[1])
    assert (listed["state"], "token" in listed) == ("revoked", False)


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("create",), 2, "--role"),
        (("create", "--role", "king"), 2, "king"),
        (("create", "--role", "read", "--tenant", "A/B"), 2, "small letters"),
        (("create", "--role", "read", "--expires", "soon"), 2, "90d"),
        (("revoke", "none"), EXIT_CODE["unknown_key"], "ddx keys list"),
        (("rotate", "none"), EXIT_CODE["unknown_key"], "ddx keys list"),
    ],
)
def test_what_cannot_be_is_said_with_a_way_out(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    word: str,
) -> None:
    ended, _, err = ddx(capsys, "keys", *arguments)
    assert ended == code
    assert word in err


def test_a_damaged_file_of_keys_is_said_and_left_alone(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ddx(capsys, "keys", "create", "--role", "read")
    file = home / "ddx_data" / "api_keys.json"
    file.write_text('{"version": 1')
    for words in (("list",), ("create", "--role", "read")):
        assert ddx(capsys, "keys", *words)[0] == EXIT_CODE["keys_unavailable"]
    assert file.read_text() == '{"version": 1'


def test_two_keys_made_at_once_are_both_kept(home: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    from ddx.core.callers import Role

    make = partial(
        callers.create,
        load(),
        tenant="north",
        name="",
        roles=frozenset({Role.READ}),
        expires_at=None,
        rate_per_minute=0.0,
        running=0,
    )
    with ThreadPoolExecutor(8) as pool:
        made = {key.id for _, key in pool.map(lambda _: make(), range(16))}
    assert {key.id for key in callers.listed(load())} == made


@pytest.mark.parametrize("command", ["serve", "up"])
def test_beyond_this_machine_it_listens_only_with_keys_and_tls(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setenv("DDX_HOST", "0.0.0.0")
    code, _, err = ddx(capsys, command)
    assert code == EXIT_CODE["unsafe_address"]
    for word in (
        "API keys (or oidc_issuer) and TLS",
        *("ddx keys create", "tls_cert_file", "behind_proxy"),
    ):
        assert word in err
    ddx(capsys, "keys", "create", "--role", "predict")
    code, _, err = ddx(capsys, command)
    assert code == EXIT_CODE["unsafe_address"]
    assert "without TLS" in err
    monkeypatch.setenv("DDX_BEHIND_PROXY", "1")
    callers.check_address(load())


@pytest.mark.parametrize("command", ["serve", "up"])
def test_an_issuer_of_tokens_is_as_good_as_keys_but_no_tls(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    assert home.exists()
    for name, value in {
        "HOST": "0.0.0.0",
        "OIDC_ISSUER": "https://login.example.org",
        "OIDC_AUDIENCE": "ddx",
        "OIDC_ROLES_CLAIM": "roles",
    }.items():
        monkeypatch.setenv(f"DDX_{name}", value)
    code, _, err = ddx(capsys, command)
    assert code == EXIT_CODE["unsafe_address"]
    assert "on 0.0.0.0 without TLS" in err
    monkeypatch.setenv("DDX_BEHIND_PROXY", "1")
    callers.check_address(load())
    monkeypatch.setitem(sys.modules, "ddx.adapters.oidc", None)
    code, _, err = ddx(capsys, command)
    assert code == EXIT_CODE["missing_extra"]
    assert "ddx-server[oidc]" in err


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("DDX_TLS_CERT_FILE", "cert.pem", "tls_key_file"),
        ("DDX_TLS_CLIENT_CA_FILE", "ca.pem", "tls_cert_file"),
    ],
)
def test_half_of_tls_is_refused(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
    word: str,
) -> None:
    (home / value).write_text("")
    monkeypatch.setenv(name, value)
    code, _, err = ddx(capsys, "serve")
    assert code == EXIT_CODE["bad_settings"]
    assert word in err
