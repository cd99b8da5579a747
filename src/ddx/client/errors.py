"""What a client raises."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """An error, as the server says it (RFC 9457)."""

    status: int
    code: str
    """Stable: for programs to look at."""
    detail: str
    advice: str
    field: str | None = None
    """The field at fault, where one is."""
    prediction_id: str | None = None
    """Of the record, where there is one."""


class ClientError(Exception):
    """There is no answer."""


class Refused(ClientError):
    """The server said no, or its model failed, as often as was tried."""

    def __init__(self, problem: Problem, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail} {problem.advice}")
        self.problem = problem
        self.retry_after_s = retry_after_s
        """Seconds that the server asks to wait before another try; None where it does not."""


class Unreachable(ClientError):
    """The connection failed, as often as was tried."""


class BadReply(ClientError):
    """What came is not what a DDx server says."""
