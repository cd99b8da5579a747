"""A master key that stays in a key management service, asked by a command."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ddx.adapters.vault.master import KEY_BYTES
from ddx.errors import MasterKeyUnavailable, WrongMasterKey

TIMEOUT_S = 30.0
_MOST_BYTES = 64 * 1024
_SHOWN = 120
_asked: dict[tuple[tuple[str, ...], str], bytes] = {}
"""What this process has had unwrapped: a service is slow, and may charge for each question."""


class CommandMaster:
    """A Master behind a command, which is run without a shell, with one word more.

    `wrap`: one line of base64, 32 bytes, comes on standard input; it prints one line of any text.
    `unwrap`: that line comes on standard input; it prints the line of base64.
    """

    def __init__(
        self,
        words: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._words = tuple(words)
        self._folder, self._environment, self._timeout_s = folder, environment, timeout_s
        said = "\0".join(self._words).encode()
        self.id = f"command:{hashlib.sha256(said).hexdigest()[:16]}"

    def wrap(self, data_key: bytes) -> str:
        """Have it wrapped. Raises MasterKeyUnavailable."""
        line = self._ask("wrap", base64.b64encode(data_key).decode())
        if not line.isprintable():
            raise MasterKeyUnavailable(f"{self._name} wrap printed something other than one line")
        return line

    def unwrap(self, wrapped: str) -> bytes:
        """Have it unwrapped, once in a process. Raises MasterKeyUnavailable, WrongMasterKey."""
        known = (self._words, wrapped)
        if known not in _asked:
            try:
                found = base64.b64decode(self._ask("unwrap", wrapped), validate=True)
            except (binascii.Error, ValueError):
                found = b""
            if len(found) != KEY_BYTES:
                raise WrongMasterKey(f"{self._name} unwrap printed no data key")
            _asked[known] = found
        return _asked[known]

    @property
    def _name(self) -> str:
        return f"master_key_command ({Path(self._words[0]).name})"

    def _ask(self, word: str, line: str) -> str:
        try:
            process = subprocess.Popen(
                [*self._words, word],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self._folder,
                env=dict(self._environment),
                # A group of its own, so that a time-out ends what it started, too.
                start_new_session=True,
            )
        except OSError as error:
            raise MasterKeyUnavailable(f"{self._name} cannot be run: {error.strerror}") from None
        try:
            said, complaint = process.communicate(f"{line}\n".encode(), self._timeout_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise MasterKeyUnavailable(
                f"{self._name} {word} gave no answer within {self._timeout_s:g} s"
            ) from None
        if process.returncode:
            raise MasterKeyUnavailable(
                f"{self._name} {word} ended with {process.returncode}{_end(complaint)}"
            )
        text = said.decode(errors="replace").strip()
        if not text or len(said) > _MOST_BYTES:
            raise MasterKeyUnavailable(f"{self._name} {word} printed nothing of use")
        return text


def _end(complaint: bytes) -> str:
    r"""Say the end of a command's last line, which may not be all fit to be shown.

    >>> _end(b"trace\nno such key\n"), _end(b"")
    ('; it said: no such key', '')
    """
    lines = complaint.decode(errors="replace").strip().splitlines()
    last = "".join(c for c in lines[-1] if c.isprintable())[-_SHOWN:] if lines else ""
    return f"; it said: {last}" if last else ""
