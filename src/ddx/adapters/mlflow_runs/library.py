"""MLflow itself: how it is loaded, and its errors in our words."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from ddx.errors import (
    AnswerLost,
    CloudUnavailable,
    DdxError,
    DeliveryRefused,
    MissingExtra,
    TrackerUnavailable,
)

REQUEST_TIMEOUT_S = 30
"""Longer than the 20 s that MLflow waits for a locked SQLite file: then it answers."""

_DEFAULTS = {
    # Offline, litellm's fetch of its price map at import can hang for ever.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(REQUEST_TIMEOUT_S),
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
_NO_RETRY = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # Databricks' own client, which is used there, counts seconds instead: it waits a second or more
    # after a failure, so that with one second it never tries again. 0 would mean its default.
    "MLFLOW_DATABRICKS_ENDPOINT_HTTP_RETRY_TIMEOUT": "1",
}
_NAMED_BY_THE_PROCESS = frozenset({"arn", "azureml", "databricks", "databricks-uc", "uc"})
"""Kinds of address whose clients ask MLflow which address the process has set, to sign for it."""
_REFUSALS = frozenset(
    {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"}
)
"""A code that would come again. Not among them: BAD_REQUEST, which MLflow also says when its
database is only busy."""
_NOT_DONE = frozenset({401, 403, 404, 429})
"""Statuses of a request that MLflow, or what stands before it, did not even try."""
_NEVER_SENT = frozenset({"NewConnectionError", "ConnectTimeoutError", "NameResolutionError"})
"""urllib3's errors from before the first byte of a request."""
_TOLD_TO_WAIT = frozenset({"TooManyRequests", "RequestLimitExceeded", "ResourceExhausted"})
"""Databricks' client's errors of a request that was turned away for its number."""

_CLOUD_CLOSED = frozenset(
    {
        "NoCredentialsError",
        "PartialCredentialsError",
        "DefaultCredentialsError",
        "CredentialUnavailableError",
        "ClientAuthenticationError",
    }
)
"""Errors of the clouds' clients (AWS, Google, Azure) for want of a login: to artifacts, or to an
MLflow that is theirs."""
_CLOUD_AWAY = frozenset({"EndpointConnectionError", "ServiceRequestError"})
"""Theirs from before the first byte of a request."""


@cache
def mlflow() -> SimpleNamespace:
    """Load MLflow's client, in seconds. Raises MissingExtra."""
    _prepare()
    try:
        from mlflow import entities
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.tracking import MlflowClient, set_tracking_uri
        from mlflow.utils.uri import add_databricks_profile_info_to_artifact_uri
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    # A plugin for another kind of address complains there of ours, with each request; Databricks'
    # client of a workspace that does not describe itself.
    for name in ("mlflow.tracking.request_header.registry", "databricks.sdk"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return SimpleNamespace(
        MlflowClient=MlflowClient,
        entities=entities,
        get_artifact_repository=get_artifact_repository,
        set_tracking_uri=set_tracking_uri,
        with_profile=add_databricks_profile_info_to_artifact_uri,
    )


def connect(tracking_uri: str) -> Any:
    """Return MLflow's client of an address. Asks nothing yet. Raises MissingExtra."""
    library = mlflow()
    with translated("reaching MLflow"):
        if tracking_uri.partition(":")[0] in _NAMED_BY_THE_PROCESS:
            library.set_tracking_uri(tracking_uri)
        return library.MlflowClient(tracking_uri)


def repository(uri: str, tracking_uri: str | None = None) -> Any:
    """Return MLflow's way to the files at an artifact URI of a server."""
    library = mlflow()
    named = library.with_profile(uri, tracking_uri) if tracking_uri else uri
    return library.get_artifact_repository(named, tracking_uri)


@cache
def tracing() -> SimpleNamespace:
    """Load what posts to a server with MLflow's own credentials. Raises MissingExtra."""
    mlflow()
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    return SimpleNamespace(http_request=http_request, verify_rest_response=verify_rest_response)


@cache
def tables() -> SimpleNamespace:
    """Load MLflow's table definitions, in seconds, as SQLAlchemy tables. Raises MissingExtra."""
    _prepare()
    try:
        from mlflow.store.tracking.dbmodels import models
        from mlflow.utils.uri import append_to_uri_path
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    return SimpleNamespace(
        experiments=models.SqlExperiment.__table__,
        experiment_tags=models.SqlExperimentTag.__table__,
        runs=models.SqlRun.__table__,
        params=models.SqlParam.__table__,
        metrics=models.SqlMetric.__table__,
        latest_metrics=models.SqlLatestMetric.__table__,
        tags=models.SqlTag.__table__,
        append_to_uri_path=append_to_uri_path,
    )


def _prepare() -> None:
    """Set what MLflow reads from the environment when it is imported or called."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Not a default: MLflow's client repeats a POST whose answer was lost, and a repeated
    # create is a second run. Delivery tries again by itself, after looking.
    os.environ.update(_NO_RETRY)


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    return MissingExtra(
        f"delivery needs MLflow, and {error.name} is not there: pip install 'ddx-server[tracking]'"
    )


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Say errors of MLflow and of its HTTP in our words.

    Only codes and kinds are told, never the library's text: it can quote values of a run.
    """
    try:
        yield
    except DdxError:
        raise
    except UnicodeEncodeError:
        # Not chained: the error holds the whole text.
        raise DeliveryRefused(f"{doing}: a text cannot be written as UTF-8") from None
    except Exception as error:
        raise _translation(error, doing) from error


def _translation(error: Exception, doing: str) -> DdxError:
    code = getattr(error, "error_code", None)
    if code in _REFUSALS:
        return DeliveryRefused(f"{doing}: MLflow answered {code}")
    status = error.get_http_status_code() if hasattr(error, "get_http_status_code") else None
    if str(code).isdigit():  # Databricks says the status again in the place of a code
        status = int(str(code))
    if status in _NOT_DONE:
        return TrackerUnavailable(f"{doing}: MLflow answered {code}")
    kinds = {type(cause).__name__ for cause in causes(error)}
    if any("too many 429" in str(cause) for cause in causes(error)):  # urllib3's words
        kinds.add("TooManyRequests")
    if kinds & _CLOUD_CLOSED:
        return CloudUnavailable(f"{doing}: there are no credentials that let in")
    if kinds & _CLOUD_AWAY:
        return CloudUnavailable(f"{doing}: nothing answers at the cloud's address")
    if kinds & _NEVER_SENT:
        return TrackerUnavailable(f"{doing}: nothing answers at MLflow's address")
    if kinds & _TOLD_TO_WAIT:
        return TrackerUnavailable(f"{doing}: MLflow takes no more requests for now")
    return AnswerLost(f"{doing}: {code or type(error).__name__}")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk the errors behind an error; urllib3 hides its own in `reason` and `args`."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
