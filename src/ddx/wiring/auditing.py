"""The trail of looks, from settings: written by the server and by commands, read by auditors."""

from __future__ import annotations

import getpass
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from ddx.adapters.access_trail import FOLDER, AccessTrail
from ddx.adapters.ed25519 import PUBLIC_NAME, Ed25519Signer, Ed25519Verifier
from ddx.adapters.system import SystemClock
from ddx.core.access import Act, Look, Wanted, breaks, read
from ddx.core.chain import Checkpoint
from ddx.errors import BadCheckpoint
from ddx.ports import Vault
from ddx.settings import Settings
from ddx.wiring.vaults import vault

CHECKPOINT = "access.json"


def trail(settings: Settings) -> AccessTrail:
    """Return the trail."""
    return AccessTrail(settings.data)


def note_command(settings: Settings, act: Act, about: str, ids: Sequence[str] = ()) -> None:
    """Keep that the user of this machine does something. Raises AccessTrailUnavailable."""
    look = Look(at=now(), caller=f"os:{getpass.getuser()}", act=act, ids=tuple(ids), about=about)
    trail(settings).add(look)


def now() -> str:
    """Return the time as looks have it."""
    return SystemClock().now().isoformat(timespec="milliseconds")


def looks(settings: Settings, wanted: Wanted) -> Iterator[Look]:
    """Yield the looks that are wanted, oldest first; damaged lines are left to `faults`."""
    for line in trail(settings).lines():
        try:
            found = read(line)
        except (ValueError, KeyError, TypeError):
            continue
        if wanted.holds(found):
            yield found


def newest(settings: Settings, wanted: Wanted, limit: int) -> list[Look]:
    """Return the last of them, the newest first."""
    return list(reversed(deque(looks(settings, wanted), maxlen=limit)))


def faults(settings: Settings) -> tuple[int, list[tuple[int, str]]]:
    """Walk the whole chain: return how many lines there are, and each fault with its line.

    The signed checkpoint, where one is kept, tells a cut end and a chain that was made anew.
    Raises BadCheckpoint, AccessTrailUnavailable.
    """
    lines = list(trail(settings).lines())
    found = list(breaks(lines))
    kept = _checkpoint(settings)
    if kept is not None:
        there = [one for one in map(_tried, lines) if one and one.seq == kept.seq]
        if not there:
            found.append((kept.seq, "the checkpoint names this line, and it is gone"))
        elif there[0].link != kept.link:
            found.append((kept.seq, "the checkpoint has another link for this line"))
    return len(lines), found


def sign_checkpoint(settings: Settings, keys: Vault | None = None) -> None:
    """Write a signed checkpoint of the trail, in place of the last one."""
    keys = keys or vault(settings)
    last = trail(settings).newest()
    if last is None:
        return
    made = Checkpoint(
        journal_id=FOLDER, instance=FOLDER, seq=last.seq, link=last.link, made_at=now()
    )
    folder = _place(settings)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{CHECKPOINT}"
    draft.write_text(Ed25519Signer(settings.data / "keys", keys).sign(made))
    draft.chmod(0o600)
    draft.replace(folder / CHECKPOINT)


def _place(settings: Settings) -> Path:
    return settings.home / settings.checkpoints_dir / FOLDER


def _checkpoint(settings: Settings) -> Checkpoint | None:
    try:
        text = (_place(settings) / CHECKPOINT).read_text(encoding="utf-8")
        key = (settings.data / "keys" / PUBLIC_NAME).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadCheckpoint(f"the trail's checkpoint cannot be read: {error.strerror}") from error
    return Ed25519Verifier(key).read(text)


def _tried(line: str) -> Look | None:
    try:
        return read(line)
    except (ValueError, KeyError, TypeError):
        return None
