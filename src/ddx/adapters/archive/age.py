"""Files encrypted to age recipients (age-encryption.org/v1), as streams.

What is written goes through a pipe to a thread that encrypts; nothing plain touches the disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ddx.errors import BadBackup, MissingExtra, OutputRefused

HEADER = b"age-encryption.org/v1\n"
"""With which an encrypted file begins."""


def recipients(said: Sequence[str]) -> list[Any]:
    """Return recipients as they are written: `age1…`, or an SSH public key.

    Raises MissingExtra, and OutputRefused where one is none.
    """
    pyrage = _pyrage()
    found = []
    for one in map(str.strip, said):
        kind = pyrage.ssh if one.startswith("ssh-") else pyrage.x25519
        try:
            found.append(kind.Recipient.from_str(one))
        except pyrage.RecipientError as error:
            raise OutputRefused(
                f"{one[:12]}… is no recipient: it begins with age1, or is an SSH public key"
            ) from error
    return found


def identities(file: Path) -> list[Any]:
    """Return the identities of a file as age-keygen writes it, or of an SSH private key.

    Raises MissingExtra, BadBackup.
    """
    pyrage = _pyrage()
    try:
        text = file.read_bytes()
        if b"PRIVATE KEY" in text:
            return [pyrage.ssh.Identity.from_buffer(text)]
        lines = text.decode("ascii").split()
        found = [
            pyrage.x25519.Identity.from_str(line)
            for line in lines
            if line.startswith("AGE-SECRET-KEY-")
        ]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        raise BadBackup(f"{file} cannot be read as an identity: {type(error).__name__}") from None
    if not found:
        raise BadBackup(f"{file} holds no identity: a line begins with AGE-SECRET-KEY-")
    return found


class Encrypted:
    """The plain end of a pipe into an encrypted file. For one thread."""

    def __init__(self, file: Any, to: Sequence[Any]) -> None:
        read_end, write_end = os.pipe()
        self._plain = os.fdopen(write_end, "wb")
        self._fault: BaseException | None = None
        self._thread = threading.Thread(
            target=self._encrypt, args=(os.fdopen(read_end, "rb"), file, list(to)), daemon=True
        )
        self._thread.start()

    def write(self, data: bytes) -> int:
        """Take plain bytes."""
        return self._plain.write(data)

    def flush(self) -> None:
        """Pass on what was written; the file is whole after `close` only."""
        self._plain.flush()

    def close(self) -> None:
        """End the file, which stays open. Raises OSError."""
        if not self._plain.closed:
            self._plain.close()
        self._thread.join()
        if self._fault is not None:
            raise OSError(0, f"encryption failed: {type(self._fault).__name__}") from self._fault

    def _encrypt(self, plain: IO[bytes], file: Any, to: list[Any]) -> None:
        with plain:
            try:
                _pyrage().encrypt_io(plain, file, to)
            except BaseException as error:  # told to the writer, who must not wait for ever
                self._fault = error


@contextmanager
def decrypted(file: Any, by: Sequence[Any]) -> Iterator[IO[bytes]]:
    """Give what is in an encrypted stream, to be read once. Raises BadBackup, OSError."""
    pyrage, faults = _pyrage(), list[BaseException]()
    read_end, write_end = os.pipe()

    def decrypt() -> None:
        with os.fdopen(write_end, "wb") as plain:
            try:
                pyrage.decrypt_io(file, plain, list(by))
            except BrokenPipeError:
                pass  # the reader has seen enough
            except BaseException as error:
                faults.append(error)

    thread = threading.Thread(target=decrypt, daemon=True)
    thread.start()
    try:
        with os.fdopen(read_end, "rb") as plain:
            yield plain
    except Exception:
        thread.join()
        if faults:
            raise BadBackup(
                "it cannot be decrypted: it is damaged, or is for another identity"
            ) from faults[0]
        raise
    thread.join()


def _pyrage() -> Any:
    try:
        import pyrage
    except ModuleNotFoundError as error:
        raise MissingExtra("Encryption by age needs: pip install 'ddx-server[age]'") from error
    return pyrage
