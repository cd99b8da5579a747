"""Checkpoints signed with Ed25519: made with the private key, checked with the public one."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import asdict
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from ddx.core.chain import Checkpoint
from ddx.core.vault import NoVault
from ddx.errors import BadCheckpoint
from ddx.ports import Vault

PRIVATE_NAME = "checkpoint.key"
PUBLIC_NAME = "checkpoint.pub"


class Ed25519Signer:
    """A Signer over the deployment's key pair, made on first use."""

    def __init__(self, folder: Path, vault: Vault | None = None) -> None:
        vault = vault or NoVault()
        private_path = folder / PRIVATE_NAME
        if not private_path.exists():
            _make(folder, vault)
        pem = vault.open(PRIVATE_NAME, private_path.read_bytes())
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise BadCheckpoint(f"{PRIVATE_NAME} is not an Ed25519 key")
        self._private = key
        self._verifier = Ed25519Verifier((folder / PUBLIC_NAME).read_bytes())

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the signed checkpoint as one JSON document."""
        signature = base64.b64encode(self._private.sign(checkpoint.encode())).decode()
        return json.dumps(asdict(checkpoint) | {"signature": signature}, indent=1) + "\n"

    def read(self, document: str) -> Checkpoint:
        """Return the checkpoint in a document. Raises BadCheckpoint where the signature fails."""
        return self._verifier.read(document)


class Ed25519Verifier:
    """Checks checkpoints with the public key alone (PEM)."""

    def __init__(self, public_key: bytes) -> None:
        try:
            key = load_pem_public_key(public_key)
        except ValueError as error:
            raise BadCheckpoint("the public key is not a PEM file") from error
        if not isinstance(key, Ed25519PublicKey):
            raise BadCheckpoint("the public key is not an Ed25519 key")
        self._public = key

    def read(self, document: str) -> Checkpoint:
        """Return the checkpoint in a document. Raises BadCheckpoint where the signature fails."""
        try:
            values = json.loads(document)
            signature = base64.b64decode(values.pop("signature"), validate=True)
            checkpoint = Checkpoint(**values)
            self._public.verify(signature, checkpoint.encode())
        except InvalidSignature as error:
            raise BadCheckpoint("the checkpoint's signature does not fit its content") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadCheckpoint("the file is not a checkpoint") from error
        return checkpoint


def _make(folder: Path, vault: Vault) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # The public key first: a private key that exists always has its public one beside it.
    for name, content in ((PUBLIC_NAME, public), (PRIVATE_NAME, vault.seal(PRIVATE_NAME, pem))):
        draft = folder / f".{name}.{os.getpid()}"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(folder / name)
