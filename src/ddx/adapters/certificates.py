"""When a certificate ends."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509

from ddx.errors import SettingsError


def ends_at(file: Path) -> datetime:
    """Return when the first of a file's certificates ends; PEM. Raises SettingsError."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())[0].not_valid_after_utc
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} holds no certificate ({type(error).__name__})") from error
