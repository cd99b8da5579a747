"""A stream of server-sent events, read as it comes; it may break off and begin anew."""

from __future__ import annotations

from collections.abc import Iterator

from ddx.client import answers
from ddx.client.answers import Accepted, Answer, Diagnosis
from ddx.client.retries import Reply, Tries

Heard = Accepted | Diagnosis | Answer


class Following:
    """What one stream has said, over all its connections: nothing is said twice."""

    def __init__(self) -> None:
        self.refusal: Reply | None = None
        """What the last connection ended with, where it did not end well."""
        self.ended = False
        """The answer has come."""
        self._rest = b""
        self._name = b""
        self._id: str | None = None
        self._said: dict[int, Diagnosis] = {}

    def again(self) -> None:
        """Begin to read a new connection."""
        self._rest, self._name, self.refusal = b"", b"", None

    def feed(self, some: bytes) -> Iterator[Heard]:
        """Yield what is complete with these bytes. Raises BadReply."""
        # Not splitlines: it breaks at U+2028 and others, which stand in texts as they are.
        *lines, self._rest = (self._rest + some).split(b"\n")
        for line in lines:
            head, _, value = line.partition(b": ")
            if head == b"event":
                self._name = value
            elif head == b"data":
                yield from self._event(self._name.decode(), value)

    def wait_s(self, tries: Tries) -> float:
        """Return the seconds to wait after a connection that did not bring the answer.

        Raises Refused and Unreachable where that was the last one.
        """
        if self.refusal is not None:
            return tries.after(self.refusal)
        return tries.broken("the stream broke off")

    def _event(self, name: str, data: bytes) -> Iterator[Heard]:
        match name:
            case "accepted":
                accepted = answers.read(answers.accepted, data)
                if accepted.prediction_id != self._id:
                    self._id, self._said = accepted.prediction_id, {}
                    yield accepted
            case "diagnosis":
                found = answers.read(answers.diagnosis, data)
                if self._said.get(found.rank) != found:
                    self._said[found.rank] = found
                    yield found
            case "final":
                self.ended = True
                yield answers.read(answers.answer, data)
            case "error":
                problem = answers.read(answers.problem, data)
                self.refusal = Reply(status=problem.status, headers={}, body=data)
            case _:
                pass  # of a newer server
