"""What a question would cost, before it is asked."""

from __future__ import annotations

from dataclasses import replace

from ddx.core.prices import Price
from ddx.core.record import Request
from ddx.core.registry import Model, PromptConfig
from ddx.core.spending import Quote

FRAME = 4_700
"""Characters of a question beside the prompt's text and the case: the signature and the schema
of the answer. A test holds it against what is sent."""
CANDIDATES = 6_000
"""Characters of the knowledge engine's candidates, for a model that is shown them; a guess on
the safe side."""
_A_TOKEN = 4.0
"""Characters of English text in a token, about; JSON and medical words have fewer."""
_A_TOKEN_AT_LEAST = 2.0
_ANSWER_TOKENS, _DIAGNOSIS_TOKENS = 400, 150
"""Tokens of an answer: what it says once, and what it says of each diagnosis."""


def quote(model: Model, request: Request, prompt: PromptConfig, price: Price | None) -> Quote:
    """Return what the request would cost; unknown without a price.

    `request` names the settings that count, the model's own included. The most is every attempt
    with the longest answer, on an input of short tokens. A provider whose own limit is below
    `max_tokens` bills less.
    """
    if price is None:
        return Quote()
    coded = len(request.findings.present) * 12 if request.findings else 0
    characters = FRAME + len(prompt.text) + len(request.case) + coded
    characters += CANDIDATES if model.knowledge else 0
    limit = request.max_tokens
    answer = _ANSWER_TOKENS + _DIAGNOSIS_TOKENS * request.top_differential
    likely = _cost(price, characters / _A_TOKEN, min(answer, limit or answer))
    one = None if limit is None else _cost(price, characters / _A_TOKEN_AT_LEAST, limit)
    return Quote(likely=likely, most=None if one is None else one * max(1, model.attempts))


def _cost(price: Price, input_tokens: float, output_tokens: int) -> float | None:
    # Nothing is sure to come from a cache: the whole input is counted at its full price.
    whole = replace(price, cached=None)
    return whole.cost_usd(
        input_tokens=round(input_tokens), output_tokens=output_tokens, cached_tokens=None
    )
