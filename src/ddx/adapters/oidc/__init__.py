"""OpenID Connect: callers by tokens that an issuer signed, checked by PyJWT."""

from ddx.adapters.oidc.issuer import OidcIssuer
from ddx.adapters.oidc.published import trusting

__all__ = ["OidcIssuer", "trusting"]
