"""What a tracking server that somebody else runs can do: asked by requests that change nothing."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from ddx.adapters.mlflow_runs.experiment import ensure, full_name
from ddx.adapters.mlflow_runs.form import ID_TAG
from ddx.adapters.mlflow_runs.library import causes, connect, tracing
from ddx.core.run_draft import EXPERIMENT
from ddx.errors import DdxError
from ddx.ports import Refusal, ServerFacts

_API, _API3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
_SERVICES = {
    "databricks": "Databricks",
    "databricks-uc": "Databricks",
    "arn": "Amazon SageMaker",
    "azureml": "Azure ML",
}
_KINDS = {
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "absent",
    405: "absent",
    429: "limited",
    501: "absent",
}
_BY_CODE = {
    "RESOURCE_DOES_NOT_EXIST": "missing",
    "NOT_FOUND": "missing",
    "ENDPOINT_NOT_FOUND": "absent",
    "NOT_IMPLEMENTED": "absent",
    "FEATURE_DISABLED": "absent",
    "UNAUTHENTICATED": "unauthenticated",
    "CUSTOMER_UNAUTHORIZED": "unauthenticated",
    "PERMISSION_DENIED": "forbidden",
    "INVALID_PARAMETER_VALUE": "invalid",
    "REQUEST_LIMIT_EXCEEDED": "limited",
    "RESOURCE_EXHAUSTED": "limited",
}
_BY_ERROR = {
    **dict.fromkeys(("SSLError", "SSLCertVerificationError"), "untrusted"),
    **dict.fromkeys(
        ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "ConnectionError"),
        "unreachable",
    ),
    "TooManyRequests": "limited",
    **dict.fromkeys(("NoCredentialsError", "Unauthenticated"), "unauthenticated"),
}
_NO_TRACE = "tr-" + "0" * 32


@dataclass(frozen=True, slots=True)
class _Answer:
    body: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    refused: Refusal | None = None


def look(tracking_uri: str, folder: str = "", *, make: bool = False) -> ServerFacts:
    """Ask a server what it can do; `folder` is that of the experiments. Raises MissingExtra.

    With `make` the experiment is made where it is missing, as delivery does: only in it can more
    be asked.
    """
    facts = ServerFacts(
        service=service(tracking_uri),
        experiment=full_name(EXPERIMENT, folder),
    )
    client = connect(tracking_uri)
    found = _experiment(client, facts.experiment)
    if found.refused and found.refused.kind != "missing":
        return replace(facts, refused=found.refused)
    facts = replace(facts, version=_version(client))
    if found.refused and make:
        try:
            ensure(client, None, facts.experiment)
        except DdxError as error:
            return replace(facts, experiment_refused=refusal(error.__cause__ or error))
        found = _experiment(client, facts.experiment)
    if found.refused:
        return facts
    return _within(client, facts, found.body)


def _within(client: Any, facts: ServerFacts, found: dict[str, Any]) -> ServerFacts:
    id = str(found.get("experiment_id", ""))
    by_tag = _search(client, id, "=", "none")
    return replace(
        facts,
        experiment_id=id,
        artifact_location=str(found.get("artifact_location", "")),
        finds_tags=by_tag.refused or True,
        finds_patterns=_search(client, id, "LIKE", "none%").refused is None,
        traces=_knows(_traces(client, id)),
        assessments=_knows(_ask(client, "GET", f"{_API3}/traces/{_NO_TRACE}/assessments/a-0")),
    )


def service(tracking_uri: str) -> str:
    """Say who runs MLflow at an address.

    >>> service("databricks://PROFILE"), service("https://mlflow.example.org")
    ('Databricks', 'MLflow')
    """
    return _SERVICES.get(tracking_uri.partition(":")[0], "MLflow")


def refusal(error: BaseException) -> Refusal:
    """Say why MLflow's client failed, without its text."""
    behind = list(causes(error))
    code = next((str(c) for one in behind if (c := getattr(one, "error_code", None))), "")
    if code.isdigit():
        return Refusal(kind=_KINDS.get(int(code), "failed"), status=int(code))
    if code in _BY_CODE:
        return Refusal(kind=_BY_CODE[code], code=code)
    for one in behind:
        for ancestor in type(one).__mro__:
            if ancestor.__name__ in _BY_ERROR:
                return Refusal(kind=_BY_ERROR[ancestor.__name__])
    return Refusal(kind="failed", code=code or type(error).__name__)


# --- the requests -----------------------------------------------------------------------


def _experiment(client: Any, name: str) -> _Answer:
    """Return the experiment as the body of the answer."""
    asked = _ask(client, "GET", f"{_API}/experiments/get-by-name", experiment_name=name)
    if asked.refused:
        return asked
    found = asked.body.get("experiment")
    return _Answer(found) if isinstance(found, dict) else _Answer(refused=Refusal(kind="absent"))


def _search(client: Any, experiment_id: str, comparator: str, value: str) -> _Answer:
    return _ask(
        client,
        "POST",
        f"{_API}/runs/search",
        experiment_ids=[experiment_id],
        filter=f"tags.`{ID_TAG}` {comparator} '{value}'",
        max_results=1,
    )


def _traces(client: Any, experiment_id: str) -> _Answer:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    return _ask(client, "POST", f"{_API3}/traces/search", locations=[place], max_results=1)


def _knows(answer: _Answer) -> bool | None:
    """Whether a server knows a request, by its answer to one about nothing."""
    if answer.refused is None or answer.refused.kind in ("missing", "invalid"):
        return True
    return False if answer.refused.kind == "absent" else None


def _version(client: Any) -> str | None:
    said = _ask(client, "GET", "/version").text.strip()
    return said if re.fullmatch(r"\d+(\.\w+)+", said) else None


def _ask(client: Any, method: str, path: str, **said: Any) -> _Answer:
    """Send one request as MLflow's client would, and read whatever comes back."""
    try:
        creds = client._tracking_client.store.get_host_creds()  # noqa: SLF001  (its only way)
        response = tracing().http_request(
            host_creds=creds,
            endpoint=path,
            method=method,
            raise_on_status=False,
            **({"params": said} if method == "GET" else {"json": said}),
        )
    except DdxError:
        raise
    except Exception as error:
        return _Answer(refused=refusal(error))
    body: Any = {}
    with suppress(ValueError):
        body = json.loads(response.text)
    body = body if isinstance(body, dict) else {}
    code = str(body.get("error_code", ""))
    if response.status_code == 200 and not code:
        return _Answer(body, response.text)
    status = response.status_code
    if code.isdigit():  # Databricks says the status again in the place of a code
        status, code = int(code), ""
    kind = _BY_CODE.get(code) or _KINDS.get(status, "failed")
    return _Answer(refused=Refusal(kind=kind, status=status, code=code))
