"""The one door to object stores, for backups: streamed up in parts, and read as a stream.

Addresses and credentials are those of MLflow's stores (docs/stores.md). What is cut off leaves
nothing under its name: an object appears when its last part is there and the whole is completed.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import IO, Any, cast

from ddx.adapters.archive.places import Draft, Place
from ddx.errors import MissingExtra, OutputRefused

_PART_BYTES = 32 << 20
"""Of one part: S3 takes 10,000 of them, so that a backup can have 312 GiB."""
_AZURE = re.compile(r"(?P<box>[^@/]+)@(?P<account>[^./]+)\.(?:blob|dfs)\.(?P<suffix>core\.[a-z.]+)")
_NEEDED = {
    "s3": ("boto3", "s3"),
    "gs": ("google.cloud.storage", "gcs"),
    "wasbs": ("azure.storage.blob", "azure"),
    "abfss": ("azure.storage.blob", "azure"),
    "az": ("azure.storage.blob", "azure"),
}
SCHEMES = tuple(_NEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Store:
    """One object, as smart_open takes it."""

    uri: str
    client: Any
    writing: Mapping[str, Any] = field(default_factory=dict)
    """Parameters beside the client."""
    size: Callable[[], int | None]
    """None where nothing is there."""
    remove: Callable[[], object]


class ObjectPlace(Place):
    """An object in a bucket. Its libraries are loaded when it is first used."""

    def __init__(self, said: str) -> None:
        self.said = said
        scheme, _, rest = said.partition("://")
        if not rest.partition("/")[2].strip("/"):
            raise OutputRefused(f"{said} names no object: a name comes after the bucket's")
        module, extra = _NEEDED[scheme]
        if not (_installed("smart_open") and _installed(module)):
            raise MissingExtra(
                f"{scheme}:// needs {module} and smart_open: pip install 'ddx-server[{extra}]'"
            )
        self._store: _Store | None = None

    def size(self) -> int | None:
        """Ask the store for its length."""
        with _translated():
            return self._opened().size()

    def remove(self) -> None:
        """Delete it."""
        with _translated():
            self._opened().remove()

    def draft(self) -> Draft:
        """Begin an upload in parts."""
        with _translated():
            store = self._opened()
            return _Upload(_smart_open(store.uri, "wb", store, store.writing))

    @contextmanager
    def read(self) -> Iterator[IO[bytes]]:
        """Download it as a stream."""
        with _translated():
            store = self._opened()
            stream = _smart_open(store.uri, "rb", store, {})
        with stream:
            yield cast("IO[bytes]", _Download(stream))

    def _opened(self) -> _Store:
        if self._store is None:
            scheme, _, rest = self.said.partition("://")
            box, _, key = rest.partition("/")
            self._store = {"s3": _s3, "gs": _gcs}.get(scheme, _azure)(box, key)
        return self._store


class _Upload(Draft):
    def __init__(self, stream: Any) -> None:
        self._stream: Any = stream

    def write(self, data: bytes) -> int:
        with _translated():
            return int(self._stream.write(data))

    def keep(self) -> None:
        with _translated():
            self._stream.close()
        self._stream = None

    def drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            # What goes wrong here is no more than parts that stay, and nobody sees.
            with suppress(OSError), _translated():
                stream.terminate()


class _Download:
    """A stream whose errors are in our words."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        with _translated():
            return bytes(self._stream.read(size))


def _smart_open(uri: str, mode: str, store: _Store, parameters: Mapping[str, Any]) -> Any:
    import smart_open

    # It would print what goes wrong, with addresses, before we say it.
    logging.getLogger("smart_open").setLevel(logging.CRITICAL + 1)
    known = {"client": store.client, **parameters}
    # A name that ends with .gz is ours to compress, or not.
    return smart_open.open(uri, mode, compression="disable", transport_params=known)


def _s3(bucket: str, key: str) -> _Store:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import ClientError

    style = os.environ.get("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "auto")
    trusting = os.environ.get("MLFLOW_S3_IGNORE_TLS", "").lower() in ("true", "1")
    client: Any = boto3.Session().client(
        "s3",
        endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL") or None,
        verify=False if trusting else None,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )

    def size() -> int | None:
        try:
            return int(client.head_object(Bucket=bucket, Key=key)["ContentLength"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return None
            raise

    wanted = json.loads(os.environ.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}")
    asked = {
        "S3.Client.create_multipart_upload": wanted,
        # Two backups of one name at once: the second to end is refused, where the store can.
        "S3.Client.complete_multipart_upload": {"IfNoneMatch": "*"},
    }
    return _Store(
        uri=f"s3://{bucket}/{key}",
        client=client,
        writing={"min_part_size": _PART_BYTES, "client_kwargs": asked},
        size=size,
        remove=lambda: client.delete_object(Bucket=bucket, Key=key),
    )


def _gcs(bucket: str, key: str) -> _Store:
    from google.cloud import storage

    client: Any = storage.Client()

    def size() -> int | None:
        found = client.bucket(bucket).get_blob(key)
        return None if found is None else int(found.size)

    return _Store(
        uri=f"gs://{bucket}/{key}",
        client=client,
        writing={"min_part_size": _PART_BYTES, "blob_open_kwargs": {"if_generation_match": 0}},
        size=size,
        remove=client.bucket(bucket).blob(key).delete,
    )


def _azure(box: str, key: str) -> _Store:
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceNotFoundError
    from azure.storage.blob import BlobServiceClient

    said = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
    # `az://` names no account: the connection string does.
    named = _AZURE.fullmatch(box if "@" in box or not said else f"{box}@it.blob.core.windows.net")
    if named is None:
        raise OutputRefused(
            f"{box} is not CONTAINER@ACCOUNT.blob.core.windows.net, nor that with dfs"
        )
    if said:
        client = BlobServiceClient.from_connection_string(said)
    else:
        # A data lake's files are blobs, too.
        address = f"https://{named['account']}.blob.{named['suffix']}"
        credential: Any = os.environ.get("AZURE_STORAGE_ACCESS_KEY")
        if credential is None:
            from azure.identity import DefaultAzureCredential

            credential = DefaultAzureCredential()
        client = BlobServiceClient(address, credential=credential)
    blob = client.get_blob_client(named["box"], key)

    def size() -> int | None:
        try:
            return int(blob.get_blob_properties().size)
        except ResourceNotFoundError:
            # Of the container, too: it is said when the first part is refused.
            return None

    return _Store(
        uri=f"azure://{named['box']}/{key}",
        client=client,
        writing={
            "min_part_size": _PART_BYTES,
            "blob_kwargs": {"match_condition": MatchConditions.IfMissing},
        },
        size=size,
        remove=blob.delete_blob,
    )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


@contextmanager
def _translated() -> Iterator[None]:
    """Say any library's error as an OSError with its kind alone: its text can hold addresses."""
    try:
        yield
    except (OutputRefused, MissingExtra):
        raise
    except Exception as error:
        raise OSError(0, f"the store says {_kind(error)}") from error


def _kind(error: BaseException) -> str:
    """Return S3's own word where there is one, below what smart_open makes of it."""
    below: BaseException | None = error
    while below is not None:
        said = getattr(below, "response", None)
        if isinstance(said, dict) and said.get("Error", {}).get("Code"):
            return str(said["Error"]["Code"])
        below = below.__cause__ or below.__context__
    return type(error).__name__
