"""Renewing what a connection lasts by, while it lives: the event `renew`."""

from __future__ import annotations

from typing import Any

import msgspec

from hubbub.admin import Admin
from hubbub.client import Participant
from hubbub.errors import ErrorCode, Refused
from hubbub.expiry import Expiry
from hubbub.handlers import Handlers
from hubbub.sessions import Sessions
from hubbub.tokens import BadToken, Tokens

__all__ = ["install_renewal"]


class Renew(msgspec.Struct, tag="renew", frozen=True):
    """Shows another token of the same user."""

    token: str


def install_renewal(handlers: Handlers, tokens: Tokens, sessions: Sessions, expiry: Expiry, admin: Admin) -> None:
    """Register the handler, unless the application has one for the event."""

    @handlers.offer(None)
    async def renew(request: Renew, client: Participant) -> dict[str, Any]:
        if client.terms is None or client.terms.is_kept:
            raise Refused(ErrorCode.FORBIDDEN, "this connection does not last by a token of yours")
        try:
            grant = await tokens.grant(request.token)
        except BadToken as error:
            raise Refused(ErrorCode.FORBIDDEN, f"the token is refused: {error}") from None
        if grant.user != client.user:
            raise Refused(ErrorCode.FORBIDDEN, "the token is of another user")
        if not client.is_connected:
            return {}
        sessions.move(client, grant)
        expiry.set(client)
        admin.review_client(client)
        left = expiry.left(client)
        return {} if left is None else {"expires": round(left, 3)}
