"""The chain over a journal's events: a change, a removal or a reordering breaks it.

link(n) = SHA-256(link(n-1) || header(n) || ciphertext(n)), over lengths, so that no byte can
move from one part to the next. docs/journal-format.md has the bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an event says."""

    ACCEPTED = "accepted"
    FINISHED = "finished"
    FEEDBACK = "feedback"
    ERASED = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The part of an event that can be read without its key. No patient data."""

    journal_id: str
    seq: int
    """From 1, without a gap. The order of events: never a clock or an id."""
    kind: Kind
    prediction_id: str
    key_id: int
    """Which key of the key file the payload is under."""
    written_at_us: int
    """Microseconds since 1970 in UTC, for people; nothing is ordered by it."""
    nonce: bytes
    """12 random bytes of AES-GCM."""

    def encode(self) -> bytes:
        """Return the bytes that the chain and the encryption cover."""
        return json.dumps(
            [
                self.journal_id,
                self.seq,
                self.kind,
                self.prediction_id,
                self.key_id,
                self.written_at_us,
                self.nonce.hex(),
            ],
            separators=(",", ":"),
        ).encode()


def genesis(journal_id: str) -> bytes:
    """Return the link before the first event."""
    return hashlib.sha256(b"ddx-journal-1:" + journal_id.encode()).digest()


def link(previous: bytes, header: bytes, ciphertext: bytes) -> bytes:
    """Return the 32 bytes that bind an event to all before it."""
    digest = hashlib.sha256(previous)
    digest.update(len(header).to_bytes(4))
    digest.update(header)
    digest.update(len(ciphertext).to_bytes(4))
    digest.update(ciphertext)
    return digest.digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedEvent:
    """An event with what binds it, as it stands in the file."""

    header: Header
    ciphertext: bytes
    link: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """A place where the chain does not hold."""

    seq: int
    why: str


class Walk:
    """Follows a chain from its genesis, event by event.

    Only the first break is a fact of its own place: after it the walk goes on from the link
    that it found, so that a second change elsewhere is named too.
    """

    def __init__(self, journal_id: str) -> None:
        self.seq = 0
        self.link = genesis(journal_id)
        self._journal_id = journal_id

    def step(self, event: ChainedEvent) -> Break | None:
        """Take the next event in order of sequence; return what is wrong with it, if anything."""
        header = event.header
        found: str | None = None
        if header.seq != self.seq + 1:
            found = f"events {self.seq + 1} to {header.seq - 1} are missing"
        elif link(self.link, header.encode(), event.ciphertext) != event.link:
            found = "the event, or its place in the order, was changed"
        self.seq, self.link = header.seq, event.link
        return Break(seq=header.seq, why=found) if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a journal's chain was at one moment. Signed, it can be kept anywhere."""

    journal_id: str
    instance: str
    seq: int
    link: str
    """64 hex digits."""
    made_at: str
    """ISO 8601 in UTC, for people."""

    def encode(self) -> bytes:
        """Return the bytes that the signature covers."""
        values = [self.journal_id, self.instance, self.seq, self.link, self.made_at]
        return json.dumps(["ddx-checkpoint-1", *values], separators=(",", ":")).encode()
