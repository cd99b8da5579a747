"""One issuer, and what its tokens are held against."""

from __future__ import annotations

import ssl
from typing import Any

import jwt

from ddx.adapters.oidc.published import ALGORITHMS, Keys, fetch
from ddx.core.callers import Caller
from ddx.core.token_claims import ClaimRules
from ddx.errors import BadToken, IssuerUnavailable
from ddx.ports import Clock

FRESH_S, LATE_S = 300.0, 600.0
"""Older keys are fetched anew: beside the requests; then, where the issuer is not known to be
away, before the next token is judged. So long a key works that the issuer withdrew."""
GOOD_S = 6 * 3600.0
"""While the issuer is away its keys are good for so long."""
ASK_S = 10.0
"""The issuer is asked no more often than this, whatever tokens come."""
LEEWAY_S = 30
"""How far the issuer's clock may be from this one."""
_LONGEST = 16 * 1024
_KINDS = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""Of tokens (RFC 9068, 4). Others that an issuer signs, as logout tokens, open nothing."""
_REQUIRED = ("exp", "iss", "aud", "sub")
_SAID: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "The token has expired."),
    (jwt.ImmatureSignatureError, "The token is not good yet."),
    (jwt.InvalidAudienceError, "The token is for another audience than this server."),
    (jwt.InvalidIssuerError, "The token is from another issuer."),
    (jwt.InvalidSignatureError, "The token's signature is not good."),
)


class OidcIssuer:
    """An Issuer by OpenID Connect. `fetch` may run in another thread than the rest."""

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        rules: ClaimRules,
        context: ssl.SSLContext,
        clock: Clock,
    ) -> None:
        """Fetch nothing yet."""
        self._issuer, self._audience, self._rules = issuer, audience, rules
        self._context, self._clock = context, clock
        self._keys: Keys = {}
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._trouble: str | None = None

    @property
    def published(self) -> int:
        """How many keys were there when it was last asked."""
        return len(self._keys)

    def caller(self, token: str) -> Caller | None:
        """Return who sent a token; see ports.Issuer."""
        if not _is_token(token):
            return None
        named = _key_of(token)
        key = self._good_keys().get(named)
        if key is None:
            if self._trouble is not None or self._fetched_s is None:
                raise IssuerUnavailable(self._trouble or "")
            raise BadToken("The token is signed with a key that its issuer does not publish.")
        return self._rules.caller(self._issuer, self._claims(token, key, named[1]))

    def lacks(self, token: str) -> bool:
        """Say whether the keys should be fetched before this token is judged."""
        try:
            unknown = _is_token(token) and _key_of(token) not in self._good_keys()
        except BadToken:
            return False
        late = self._trouble is None and self._age_s() >= LATE_S
        return (unknown or late) and self._may_ask()

    @property
    def stale(self) -> bool:
        """Whether the keys should be fetched anew, while tokens are judged by these."""
        return self._fetched_s is not None and self._age_s() >= FRESH_S and self._may_ask()

    def fetch(self) -> None:
        """Fetch the keys; those that there were stay where it fails. See ports.Issuer."""
        try:
            self._keys = fetch(self._issuer, self._context)
            self._fetched_s, self._trouble = self._clock.monotonic(), None
        except IssuerUnavailable as error:
            self._trouble = str(error)
            raise
        finally:
            self._asked_s = self._clock.monotonic()

    def _may_ask(self) -> bool:
        return self._asked_s is None or self._clock.monotonic() - self._asked_s >= ASK_S

    def _age_s(self) -> float:
        return 0.0 if self._fetched_s is None else self._clock.monotonic() - self._fetched_s

    def _good_keys(self) -> Keys:
        return self._keys if self._age_s() < GOOD_S else {}

    def _claims(self, token: str, key: jwt.PyJWK, algorithm: str) -> dict[str, Any]:
        """Return what a token says, once all of it was checked. Raises BadToken."""
        try:
            found: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": list(_REQUIRED), "enforce_minimum_key_length": True},
            )
        except jwt.MissingRequiredClaimError as error:
            raise BadToken(f"The token lacks the claim {error.claim}.") from error
        except jwt.PyJWTError as error:
            said = (text for kind, text in _SAID if isinstance(error, kind))
            raise BadToken(next(said, "The token cannot be read.")) from error
        if not found["sub"]:
            raise BadToken("The token lacks the claim sub.")
        return found


def _is_token(given: str) -> bool:
    return given.count(".") == 2


def _key_of(token: str) -> tuple[str, str]:
    """Return id and algorithm of the key that a token says it is signed with. Raises BadToken."""
    if len(token) > _LONGEST:
        raise BadToken("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise BadToken("The token cannot be read.") from error
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise BadToken("The token is signed in a way that is not taken here.")
    if not isinstance(kind, str) or kind.lower() not in _KINDS:
        raise BadToken("The token is of a kind that is not taken here.")
    if not isinstance(kid, str):
        raise BadToken("The token does not say which key it is signed with.")
    return kid, algorithm
