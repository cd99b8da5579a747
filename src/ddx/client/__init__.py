"""A typed client of a DDx server, for programs: `Client`, and `AsyncClient` alike.

    >>> from ddx.client import Client
    >>> with Client("http://127.0.0.1:8000") as client:           # doctest: +SKIP
    ...     answer = client.predict("Fever for 3 days, and a rash.", top_differential=3)
    ...     print(answer.diagnoses[0].name)

Every request carries a tracker, so that it is tried again safely where the server is busy, away,
or its model fails. Needs the extra `client`, which is httpx; imports nothing of the server.
"""

from ddx.client.answers import (
    Accepted,
    Answer,
    BatchResult,
    BatchStatus,
    Code,
    Diagnosis,
    Evidence,
    Health,
    Summary,
)
from ddx.client.asking import CaseBody, Filters, FindingsBody, Options
from ddx.client.asynchronous import AsyncClient
from ddx.client.errors import BadReply, ClientError, Problem, Refused, Unreachable
from ddx.client.retries import Retries
from ddx.client.synchronous import Client

__all__ = [
    "Accepted",
    "Answer",
    "AsyncClient",
    "BadReply",
    "BatchResult",
    "BatchStatus",
    "CaseBody",
    "Client",
    "ClientError",
    "Code",
    "Diagnosis",
    "Evidence",
    "Filters",
    "FindingsBody",
    "Health",
    "Options",
    "Problem",
    "Refused",
    "Retries",
    "Summary",
    "Unreachable",
]
