"""What is kept of a tracker: keyed hashes, from which neither it nor a body can be guessed."""

from __future__ import annotations

import hmac


def hashed(secret: bytes, scope: str, tracker: str, body: bytes) -> tuple[bytes, bytes]:
    """Return the hashes of a tracker in its scope, and of the body that it stands for."""
    named = f"{len(scope)}:{scope}:{tracker}".encode()
    return (
        hmac.digest(secret, b"tracker:" + named, "sha256"),
        hmac.digest(secret, b"body:" + body, "sha256"),
    )


def derived(secret: bytes, purpose: str) -> bytes:
    """Return another key of 32 bytes that follows from a secret and does not lead back to it.

    >>> derived(b"s", "reply") == derived(b"s", "reply") != derived(b"s", "proof")
    True
    """
    return hmac.digest(secret, b"ddx claims, " + purpose.encode(), "sha256")
