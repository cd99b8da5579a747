"""Verification, from settings."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ddx.adapters.ed25519 import PUBLIC_NAME, Ed25519Verifier
from ddx.core.chain import Checkpoint
from ddx.core.known_ids import KnownIds
from ddx.errors import BadCheckpoint
from ddx.services.verify import Report, Verifier
from ddx.settings import Settings
from ddx.wiring.archiving import ArchivedRuns, archiver
from ddx.wiring.doors import DOOR_TRIES_ONCE, Journals, door


def verify(
    settings: Settings,
    *,
    mlflow: bool,
    checkpoints: Sequence[Path],
    public_key: Path | None,
    others: Sequence[KnownIds] = (),
) -> Report:
    """Verify all journals of the data folder, and MLflow against them where `mlflow`.

    Without `checkpoints` those in the settings' folder are used. `others` is what the other
    machines said that they hold. Raises BadCheckpoint,
    TrackerUnavailable, JournalUnavailable.
    """
    kept = _checkpoints(settings, checkpoints, public_key)
    with closing(Journals(settings)) as journals:
        if not mlflow:
            return Verifier(journals(), None).verify(kept)
        with (
            closing(door(settings, threading.Event(), tries=DOOR_TRIES_ONCE)) as runs,
            archiver(settings) as found,
        ):
            told = others or (None if settings.claims_uri else ())
            return Verifier(journals(), runs, ArchivedRuns(settings, found), told).verify(kept)


def _checkpoints(
    settings: Settings, named: Sequence[Path], public_key: Path | None
) -> list[Checkpoint]:
    folder = settings.home / settings.checkpoints_dir
    paths = list(named) or sorted(folder.glob("*.json"))
    if not paths:
        return []
    key = public_key or settings.data / "keys" / PUBLIC_NAME
    try:
        verifier = Ed25519Verifier(key.read_bytes())
        return [verifier.read(path.read_text(encoding="utf-8")) for path in paths]
    except OSError as error:
        raise BadCheckpoint(f"{error.filename} cannot be read: {error.strerror}") from error
