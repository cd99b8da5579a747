"""The server's own TLS: its certificate is read again when its file changes."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from ddx.errors import SettingsError
from ddx.settings import Settings

log = logging.getLogger("ddx")
LOOK_S = 10.0
"""So often the files are looked at. Renewals come days before the old one ends."""


def options(settings: Settings) -> dict[str, object]:
    """Return what uvicorn is told of TLS; nothing where it is off."""
    if not settings.tls_cert_file:
        return {}
    home, authorities = settings.home, settings.tls_client_ca_file
    found: dict[str, object] = {
        "ssl_certfile": str(home / settings.tls_cert_file),
        "ssl_keyfile": str(home / settings.tls_key_file),
    }
    if authorities:
        found |= {"ssl_ca_certs": str(home / authorities), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return found


def check(settings: Settings) -> None:
    """Try the files. Raises SettingsError where they are not a certificate and its key."""
    found = options(settings)
    if not found:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(found["ssl_certfile"]), str(found["ssl_keyfile"]))
        if "ssl_ca_certs" in found:
            context.load_verify_locations(str(found["ssl_ca_certs"]))
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise SettingsError(
            f"tls_cert_file and tls_key_file are no certificate and its key ({reason})"
        ) from error


async def follow(context: ssl.SSLContext, settings: Settings, look_s: float = LOOK_S) -> None:
    """Use a new certificate for new connections, for ever. A bad one changes nothing."""
    files = [settings.home / settings.tls_cert_file, settings.home / settings.tls_key_file]
    known = _stamps(files)
    while True:
        await asyncio.sleep(look_s)
        now = _stamps(files)
        if now == known or None in now:
            continue
        try:
            # Tried on another context first: half a pair would stay in the one in use.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(*map(str, files))
            context.load_cert_chain(*map(str, files))
        except (ssl.SSLError, OSError) as error:
            kind = type(error).__name__
            log.warning("certificate not taken", extra={"event": "tls_not_taken", "kind": kind})
            continue
        known = now
        log.info("certificate read again", extra={"event": "tls_taken"})


def _stamps(files: list[Path]) -> list[tuple[int, int] | None]:
    return [_stamp(file) for file in files]


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
