"""The routes for people: passwords, invitations and signing up."""

from __future__ import annotations

import msgspec
import structlog

from hubbub.accounts import Accounts
from hubbub.acts import Role
from hubbub.core import Core
from hubbub.engine import SignUpLink
from hubbub.errors import EngineError, ErrorCode, Refused
from hubbub.events import encode, rfc3339
from hubbub.http.answers import NO_STORE, HttpError, Route, read_body, secret, unavailable
from hubbub.http.grants import Grants
from hubbub.invitations import Invitations
from hubbub.naming import read_display_name
from hubbub.people import MAX_DISPLAY_NAME
from hubbub.wire.origins import Origins
from hubbub.wire.request import Request, Response

__all__ = ["PeopleRoutes"]

log = structlog.get_logger("hubbub.http")


class PasswordBody(msgspec.Struct):
    """The body of a change of password."""

    current: str
    new: str


class InvitationBody(msgspec.Struct):
    """The body of an invitation's making."""

    uses: int = 1
    days: int = 7
    role: Role = Role.MEMBER
    note: str = ""


class CheckBody(msgspec.Struct):
    """The body of a question whether an invitation is good."""

    invitation: str


class SignUpBody(msgspec.Struct):
    """The body of signing up."""

    invitation: str
    username: str
    password: str
    name: str = ""


decode_password = msgspec.json.Decoder(PasswordBody).decode
decode_invitation = msgspec.json.Decoder(InvitationBody).decode
decode_check = msgspec.json.Decoder(CheckBody).decode
decode_sign_up = msgspec.json.Decoder(SignUpBody).decode


class PeopleRoutes:
    """Answers requests about passwords, invitations and signing up.

    Args:
        grants: finds out who asks.
        pages: the pages that may ask.

    Attributes:
        routes: by path, then by method.  `*` stands for the last part of a path.
    """

    def __init__(
        self,
        core: Core,
        accounts: Accounts,
        grants: Grants,
        pages: Origins,
    ) -> None:
        self._core = core
        self._accounts = accounts
        self._grants = grants
        self._pages = pages
        self._invitations = Invitations(core.engine, core.permissions)
        self.routes: dict[str, dict[str, Route]] = {
            "/password": {"POST": self._change_password},
            "/invitations": {"GET": self._list, "POST": self._invite},
            "/invitations/*": {"DELETE": self._end},
            "/signup": {"POST": self._sign_up},
            "/signup/check": {"POST": self._check},
        }

    # Passwords

    async def _change_password(self, request: Request) -> Response:
        self._pages.check(request)
        grant = await self._grants.of(request)
        body = read_body(request.body, decode_password, '{"current": "...", "new": "..."}')
        audit = self._core.audit
        try:
            await self._accounts.change_password(
                grant, body.current, body.new, address=request.address, is_wanted=request.is_wanted
            )
        except (Refused, EngineError) as error:
            audit.refuse("password", actor=grant.user, address=request.address, outcome=outcome_of(error))
            raise
        log.info("password changed", user=grant.user, address=request.address)
        audit.note("password", actor=grant.user, address=request.address, outcome="ok")
        return Response(204, headers=NO_STORE)

    # Invitations

    async def _invite(self, request: Request) -> Response:
        self._pages.check(request)
        grant = await self._grants.of(request)
        example = '{"uses": 1, "days": 7, "role": "member", "note": "..."}, each of it if wanted'
        body = read_body(request.body or b"{}", decode_invitation, example)
        audit = self._core.audit
        try:
            token, link = await self._invitations.make(grant.user, body.role, body.uses, body.days, body.note)
        except (Refused, EngineError) as error:
            audit.refuse("invitation", actor=grant.user, address=request.address, outcome=outcome_of(error))
            raise
        audit.note(
            "invitation",
            actor=grant.user,
            address=request.address,
            outcome="done",
            invitation=link.id,
            role=link.role,
            uses=link.uses,
        )
        return secret({"id": link.id, "link_token": token, "expires": self._expiry(link)})

    async def _list(self, request: Request) -> Response:
        grant = await self._grants.of(request)
        links = [self._told(link) for link in await self._invitations.seen_by(grant.user)]
        return Response(200, encode({"invitations": links}), headers=NO_STORE)

    async def _end(self, request: Request) -> Response:
        self._pages.check(request)
        grant = await self._grants.of(request)
        ended = await self._invitations.end(grant.user, request.path.rpartition("/")[2])
        if ended is None:
            raise HttpError(404, "not_found", "no invitation of yours is open by that id")
        self._core.audit.note(
            "end invitation", actor=grant.user, address=request.address, outcome="done", invitation=ended.id
        )
        return Response(204, headers=NO_STORE)

    def _told(self, link: SignUpLink) -> dict[str, object]:
        """A link, as it is listed: without its secret, which is not kept."""
        return {
            "id": link.id,
            "by": link.by or None,
            "role": link.role,
            "uses": link.uses,
            "expires": self._expiry(link),
            "note": link.note,
        }

    def _expiry(self, link: SignUpLink) -> str:
        """When a link ends, to the second: it is counted by a clock of its own."""
        return rfc3339(round(self._core.wall() + link.left_s) * 1000).decode()

    # Signing up

    async def _check(self, request: Request) -> Response:
        self._pages.check(request)
        body = read_body(request.body, decode_check, '{"invitation": "..."}')
        link = await self._accounts.invitation(body.invitation, address=request.address, is_wanted=request.is_wanted)
        if link is None or not self._invitations.may_use(link):
            raise self._not_good(request, "")
        told = {"role": link.role, "expires": self._expiry(link), "by": link.by or None}
        return Response(200, encode(told), headers=NO_STORE)

    async def _sign_up(self, request: Request) -> Response:
        if self._core.is_closed:
            raise unavailable("the server is restarting")
        self._pages.check(request)
        example = '{"invitation": "...", "username": "...", "password": "...", "name": "..."}'
        body = read_body(request.body, decode_sign_up, example)
        user = body.username
        name = read_display_name(body.name, MAX_DISPLAY_NAME) if body.name else ""
        try:
            link = await self._accounts.sign_up(
                body.invitation,
                user,
                body.password,
                name,
                may_use=self._invitations.may_use,
                address=request.address,
                is_wanted=request.is_wanted,
            )
        except (Refused, EngineError) as error:
            self._core.audit.refuse("signup", actor=user, address=request.address, outcome=outcome_of(error))
            raise
        if link is None:
            raise self._not_good(request, user)
        await self._core.refresh_access()  # its role may be another than a member's
        log.info("signed up", user=user, address=request.address)
        self._core.audit.note(
            "signup",
            actor=user,
            address=request.address,
            outcome="ok",
            invitation=link.id,
            by=link.by or "(shell)",
            role=link.role,
        )
        return Response(204, headers=NO_STORE)

    def _not_good(self, request: Request, user: str) -> HttpError:
        """Refuse an invitation: the answer is the same for all that are not good."""
        self._core.audit.refuse("signup", actor=user, address=request.address, outcome="forbidden")
        return HttpError(403, "forbidden", "this invitation is not good, or not any more; ask for another one")


def outcome_of(error: Refused | EngineError) -> str:
    """How something ended, for the audit log."""
    return error.code if isinstance(error, Refused) else str(ErrorCode.UNAVAILABLE)
