"""What a kept record is sent as."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fastapi import Response

from ddx.core.feedback import Feedback
from ddx.core.record import Prediction
from ddx.core.response import reply
from ddx.web import problems


def replied(prediction: Prediction, feedback: Sequence[Feedback] = ()) -> Response:
    """Return the reply that the record holds, byte for byte; feedback, if any, is added last."""
    completion = prediction.completion
    if completion is None:
        raise ValueError("a prediction without its completion has no reply")
    ok = completion.status == 200
    return Response(
        with_feedback(body_of(prediction), feedback),
        status_code=completion.status,
        media_type="application/json" if ok else problems.MEDIA_TYPE,
        headers=problems.headers(completion.status, prediction.id),
    )


def with_feedback(body: str, feedback: Sequence[Feedback]) -> str:
    """Return a JSON object with what was said as its last field."""
    if not feedback:
        return body
    said = json.dumps([said_form(one) for one in feedback], ensure_ascii=False)
    return f'{body.rstrip().removesuffix("}")}, "feedback": {said}}}'


def said_form(one: Feedback) -> dict[str, Any]:
    """Return one feedback as it is sent; what was not said is left out."""
    reason = one.override_reason
    coded = reason and {"code": reason.code, "system": reason.system, "display": reason.display}
    told = {name: value for name, value in (coded or {}).items() if value is not None}
    why = {"reason": told or None, "userComment": reason.comment if reason else None}
    fields = {
        "received_at": one.received_at.isoformat(),
        "outcome": one.outcome,
        "card": one.card,
        "acceptedSuggestions": [{"id": id} for id in one.accepted_suggestions],
        "overrideReason": {name: value for name, value in why.items() if value is not None},
        "outcomeTimestamp": one.outcome_at.isoformat() if one.outcome_at else None,
        "true_diagnosis": one.true_diagnosis,
        "true_code": asdict(one.true_code) if one.true_code else None,
        "comment": one.comment,
    }
    return {name: value for name, value in fields.items() if value not in (None, [], {})}


def body_of(prediction: Prediction) -> str:
    """Return the body that a finished prediction was or would have been answered with."""
    completion = prediction.completion
    if completion is None:
        raise ValueError("a prediction without its completion has no reply")
    # Nobody was told anything where the process died: now they are told that.
    return completion.body or reply(prediction, completion.answer)[1]
