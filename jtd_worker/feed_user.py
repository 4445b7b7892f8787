"""Whose feed a request is about: a bearer token says so, signed by the service that the user logged in to."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import jwt

SLACK_SECONDS: Final = 10.0
"""How far the clocks of two machines may be apart."""


class UnauthorizedError(Exception):
    """The request does not prove whose feed it is about; answered 401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedUser:
    """A user of a tenant, for as long as his token is good."""

    tenant_id: UUID
    user_id: UUID
    expires_at: float = field(compare=False)
    """Unix seconds by our clock."""

    @property
    def seconds_left(self) -> float:
        """How long the token is good."""
        return self.expires_at + SLACK_SECONDS - time.time()


def feed_user(authorization: str, secrets: Iterable[bytes]) -> FeedUser:
    """Read `Bearer <JWT>`: HS256 by one of `secrets`, with the claims tenant_id, sub (the user's id) and exp.

    Raises UnauthorizedError. A token made for somebody else, with a claim `aud`, is refused.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthorizedError
    for secret in secrets:
        try:
            claims = jwt.decode(
                token.strip(),
                secret,
                algorithms=["HS256"],
                options={"require": ["exp", "sub", "tenant_id"]},
                leeway=SLACK_SECONDS,
            )
            return FeedUser(
                tenant_id=UUID(claims["tenant_id"]),
                user_id=UUID(claims["sub"]),
                expires_at=float(claims["exp"]),
            )
        except jwt.InvalidSignatureError:
            continue
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            break
    raise UnauthorizedError
