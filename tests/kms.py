"""A key management service that is a command: it has a key that it never shows.

python kms.py FOLDER wrap|unwrap
"""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path


def a_kms(folder: Path) -> list[str]:
    """Return the words of the command. What it is asked it writes into `asked`."""
    return [sys.executable, __file__, str(folder)]


def main(folder: Path, word: str) -> int:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    with (folder / "asked").open("a") as log:
        log.write(f"{word}\n")
    file = folder / "inside-the-service"
    if not file.exists():
        file.write_bytes(AESGCM.generate_key(256))
    sealing, line = AESGCM(file.read_bytes()), sys.stdin.readline().strip()
    if word == "wrap":
        nonce = os.urandom(12)
        print("kms:v1:" + (nonce + sealing.encrypt(nonce, line.encode(), None)).hex())
        return 0
    stored = bytes.fromhex(line.removeprefix("kms:v1:"))
    data_key = sealing.decrypt(stored[:12], stored[12:], None)
    assert len(base64.b64decode(data_key)) == 32
    print(data_key.decode())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
