"""Signed checkpoints."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ddx.adapters.ed25519 import PUBLIC_NAME, Ed25519Signer, Ed25519Verifier
from ddx.core.chain import Checkpoint
from ddx.errors import BadCheckpoint

CHECKPOINT = Checkpoint(
    journal_id="j1", instance="main", seq=7, link="ab" * 32, made_at="2026-01-01T12:00:00+00:00"
)


def test_a_checkpoint_is_checked_with_the_public_key_alone(tmp_path: Path) -> None:
    document = Ed25519Signer(tmp_path).sign(CHECKPOINT)
    verifier = Ed25519Verifier((tmp_path / PUBLIC_NAME).read_bytes())
    assert verifier.read(document) == CHECKPOINT


def test_the_key_pair_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    document = Ed25519Signer(tmp_path).sign(CHECKPOINT)
    assert Ed25519Signer(tmp_path).read(document) == CHECKPOINT
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("field", ["journal_id", "seq", "link", "made_at", "instance"])
def test_a_changed_checkpoint_is_refused(tmp_path: Path, field: str) -> None:
    signer = Ed25519Signer(tmp_path)
    values = json.loads(signer.sign(CHECKPOINT))
    values[field] = 8 if field == "seq" else "other"
    with pytest.raises(BadCheckpoint):
        signer.read(json.dumps(values))


@pytest.mark.parametrize("document", ["", "[]", "{}", '{"signature": "!"}', '{"signature": 5}'])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, document: str) -> None:
    with pytest.raises(BadCheckpoint):
        Ed25519Signer(tmp_path).read(document)


def test_another_deployments_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    document = Ed25519Signer(tmp_path / "a").sign(CHECKPOINT)
    with pytest.raises(BadCheckpoint):
        Ed25519Signer(tmp_path / "b").read(document)
