"""What each route takes and answers, for machines: a row for each path and method that `app.App` answers.

A test holds this table to the routes, and another one what they answer to what is said here.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from hubbub.acts import Role
from hubbub.http.api_operations import API_OPERATIONS
from hubbub.http.app import FirstAccount
from hubbub.http.operation import (
    JSON,
    NOTHING,
    RETRY,
    TEXT,
    UNAUTHORIZED,
    UNAVAILABLE,
    Of,
    Operation,
    Reply,
    Time,
    refused,
)
from hubbub.http.people import CheckBody, InvitationBody, PasswordBody, SignUpBody
from hubbub.http.sign_in import CheckedLoginBody, LoginBody

__all__ = ["OPERATIONS"]

HTML = "text/html"


class OpenedSession(msgspec.Struct, frozen=True):
    """A one-time password, and the token of the session with its seconds.

    The token is in a cookie where that was asked for, and there is none for who has signed in by one of another's.
    """

    otp: str
    expires_in: int | UnsetType = UNSET
    token: str | UnsetType = UNSET


class OtpReply(msgspec.Struct, frozen=True):
    """A one-time password."""

    otp: str


class SetupReply(msgspec.Struct, frozen=True):
    """Whether the first account is still to be made."""

    open: bool


class InvitationReply(msgspec.Struct, frozen=True):
    """A new invitation; its secret is told this once."""

    id: str
    link_token: str
    expires: Time


class OpenInvitation(msgspec.Struct, frozen=True):
    """An invitation that is open: `by` is null for one of the operator's, `uses` how many are left."""

    id: str
    by: str | None
    role: Role
    uses: int
    expires: Time
    note: str


class InvitationsReply(msgspec.Struct, frozen=True):
    """Invitations, those that end first first."""

    invitations: list[OpenInvitation]


class CheckReply(msgspec.Struct, frozen=True):
    """An invitation that is good."""

    role: Role
    expires: Time
    by: str | None


FOREIGN = {403: refused("The account is blocked, or the page that asks is of another origin.")}
TOO_OFTEN = {429: refused("Too many, or too often.", RETRY)}


def page(path: str, id_: str, about: str, media_type: str) -> tuple[Operation, Operation]:
    """What only shows something, with HEAD."""
    known = Reply("The client has it.", media_type="")
    whole = Reply(about, media_type=media_type, headers={"ETag": "of the content"})
    return (
        Operation("GET", path, id_, about, {200: whole, 304: known}),
        Operation("HEAD", path, f"{id_}_head", f"The headers of: {about}", {200: NOTHING, 304: known}),
    )


def look(
    path: str, id_: str, about: str, replies: dict[int, Reply], media_type: str = TEXT, body: Any = None, of: Of = ""
) -> tuple[Operation, Operation]:
    """What is told to who asks, with HEAD."""
    told = Reply(about, body, media_type)
    heads = {status: Reply(reply.about, media_type="") for status, reply in replies.items()}
    return (
        Operation("GET", path, id_, about, {200: told, **replies}, of=of),
        Operation("HEAD", path, f"{id_}_head", f"The headers of: {about}", {200: NOTHING, **heads}, of=of),
    )


def log_in(body: type[msgspec.Struct], of: Of) -> Operation:
    """The login: its body is all optional where the application checks who signs in, and for who has a signed token."""
    return Operation(
        "POST",
        "/login",
        "log_in",
        "Log in: a one-time password for the WebSocket, and a token for the rest.",
        {
            200: Reply("Logged in.", OpenedSession, headers={"Set-Cookie": "the token, where `remember` asks for it"}),
            401: refused("A wrong name or password."),
            403: refused("The account is blocked, or the page that asks is of another origin."),
            **TOO_OFTEN,
            **UNAVAILABLE,
        },
        body,
        may_lack_body=True,
        credentials="session?",
        of=of,
    )


NOT_HERE = {403: refused("It is for this machine alone.")}
NO_UPGRADE = {
    403: refused("The page that asks is of another origin."),
    426: refused("This is for WebSockets.", {"Upgrade": "websocket"}),
    503: refused("The server stops, or is full.", RETRY),
}

OPERATIONS: tuple[Operation, ...] = (
    # Getting in, and out
    log_in(LoginBody, "accounts"),
    log_in(CheckedLoginBody, "check"),
    Operation(
        "POST",
        "/otp",
        "another_otp",
        "Another one-time password.",
        {200: Reply("It is good for seconds.", OtpReply), **UNAUTHORIZED, **FOREIGN, **TOO_OFTEN, **UNAVAILABLE},
        credentials="session",
    ),
    Operation(
        "POST",
        "/logout",
        "log_out",
        "End the session, and every connection that it has opened.",
        {204: NOTHING, **UNAUTHORIZED, **FOREIGN, **UNAVAILABLE},
        credentials="session",
    ),
    *look(
        "/setup",
        "is_setup_open",
        "Whether the first account is still to be made.",
        UNAVAILABLE,
        JSON,
        SetupReply,
        of="accounts",
    ),
    Operation(
        "POST",
        "/setup",
        "set_up",
        "Make the first account, with the secret that the server has printed.",
        {204: NOTHING, 403: refused("A wrong secret, or a used one."), **TOO_OFTEN, **UNAVAILABLE},
        FirstAccount,
        of="accounts",
    ),
    *(
        Operation(
            method,
            "/ws",
            id_,
            "Open a WebSocket, with `Upgrade: websocket` and a one-time password as `otp` or in a subprotocol.",
            {101: Reply("The WebSocket is open.", media_type=""), **NO_UPGRADE, 401: refused("No such password.")},
        )
        for method, id_ in (("GET", "connect"), ("HEAD", "connect_head"))
    ),
    Operation(
        "POST", "/ws", "why_not", "Why the WebSocket of a page was refused, which a browser does not tell.", NO_UPGRADE
    ),
    Operation(
        "GET",
        "/rooms/{name}/events",
        "hear_room",
        "What is said in a room, as server-sent events that do not end; `Last-Event-ID` says from where on.",
        {
            200: Reply("The events, in blocks of lines.", media_type="text/event-stream"),
            **UNAUTHORIZED,
            403: refused(
                "The user may not come in, or not enter the room; or the page that asks is of another origin."
            ),
            404: refused("There is no such room, and the user may not make it."),
            **TOO_OFTEN,
            503: refused("The server stops, is full, or cannot reach what it keeps.", RETRY),
        },
        credentials="session",
        parameters={"name": "of the room"},
    ),
    # People
    Operation(
        "POST",
        "/password",
        "change_password",
        "Change the password; the user's other sessions end.",
        {
            204: NOTHING,
            **UNAUTHORIZED,
            403: refused("The present password is another one, or the page that asks is of another origin."),
            **TOO_OFTEN,
            **UNAVAILABLE,
        },
        PasswordBody,
        credentials="session",
        of="accounts",
    ),
    Operation(
        "GET",
        "/invitations",
        "list_invitations",
        "The invitations that are open.",
        {
            200: Reply("Those of the user, or all of them for an admin.", InvitationsReply),
            **UNAUTHORIZED,
            403: refused("The user may not invite."),
            **UNAVAILABLE,
        },
        credentials="session",
        of="accounts",
    ),
    Operation(
        "POST",
        "/invitations",
        "invite",
        "Make an invitation.",
        {
            200: Reply("It is good from now on.", InvitationReply),
            **UNAUTHORIZED,
            403: refused("The user may not invite, or the page that asks is of another origin."),
            409: refused("There are as many as there may be."),
            **TOO_OFTEN,
            **UNAVAILABLE,
        },
        InvitationBody,
        may_lack_body=True,
        credentials="session",
        of="accounts",
    ),
    Operation(
        "DELETE",
        "/invitations/{id}",
        "end_invitation",
        "End an invitation.",
        {
            204: NOTHING,
            **UNAUTHORIZED,
            403: refused("The user may not invite, or the page that asks is of another origin."),
            404: refused("No invitation of the user is open by that id."),
            **UNAVAILABLE,
        },
        credentials="session",
        parameters={"id": "of the invitation"},
        of="accounts",
    ),
    Operation(
        "POST",
        "/signup/check",
        "check_invitation",
        "Whether an invitation is good.",
        {200: Reply("It is.", CheckReply), 403: refused("It is not."), **TOO_OFTEN, **UNAVAILABLE},
        CheckBody,
        of="accounts",
    ),
    Operation(
        "POST",
        "/signup",
        "sign_up",
        "Make an account, by an invitation.",
        {
            204: NOTHING,
            403: refused("The invitation is not good, or the page that asks is of another origin."),
            409: refused("Somebody has one of the names, or one that looks like it."),
            **TOO_OFTEN,
            **UNAVAILABLE,
        },
        SignUpBody,
        of="accounts",
    ),
    # Other programs
    *API_OPERATIONS,
    # Operating
    *look("/healthz", "healthz", "The process is alive.", {}),
    *look("/readyz", "readyz", "The server lets clients in.", {503: Reply("It does not; why.", media_type=TEXT)}),
    *look("/metrics", "metrics", "What was counted, for Prometheus.", NOT_HERE),
    Operation(
        "GET",
        "/debug",
        "debug",
        "The number of connected clients.",
        {200: Reply("A number.", media_type=TEXT), **NOT_HERE},
    ),
    # Pages
    *page("/", "page", "The chat.", HTML),
    *page("/hubbub.js", "client", "The JavaScript client.", "text/javascript"),
)
