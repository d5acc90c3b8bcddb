"""Lesson: a hub in a Litestar application.  Its users are the application's: by the session of a page, or by a token.

Start it with `uvicorn litestar_app:app`, open http://127.0.0.1:8000, and sign in as `zoe` with `correct horse`.
"""

import hashlib
import hmac
import html
import itertools
import os
import secrets
import time
from dataclasses import dataclass
from typing import Annotated, Any

import jwt
from litestar import Litestar, MediaType, Request, asgi, get, post
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotAuthorizedException
from litestar.middleware.session.client_side import CookieBackendConfig
from litestar.params import Body
from litestar.response import Redirect
from litestar.types import Scope

import hubbub
from hubbub import Credentials, Event, Hub, RequestView

# Processes that share the work share the secret; one that is made up signs everybody out with each start.
SECRET = os.environ.get("SECRET") or secrets.token_hex(32)
# A table of users, with hashes of their passwords, has its place here.
PASSWORDS = {"zoe": "correct horse", "yan": "battery staple"}
TOKEN_S = 300

AnyRequest = Request[Any, Any, Any]

hub = Hub()
numbers = itertools.count(1)


class Ordered(Event, tag="ordered"):
    number: int
    dish: str
    by: str


@dataclass
class SignIn:
    user: str
    password: str


@dataclass
class Order:
    dish: str


def is_password(user: str, password: str) -> bool:
    return hmac.compare_digest(PASSWORDS.get(user, "").encode(), password.encode()) and user in PASSWORDS


@hub.authenticate
def who(credentials: Credentials, request: RequestView) -> str | None:
    """A page has the session that it signed in with; a program has a name and a password."""
    if credentials.username is None:
        session: dict[str, str] = request.scope["session"]
        return session.get("user")
    return credentials.username if is_password(credentials.username, credentials.password or "") else None


PAGE = """<!doctype html><meta charset="utf-8"><title>The kitchen</title>
<p>Signed in as {user}. <a href="/chat/">Chat</a></p>
<form action="/orders" method="post"><input name="dish" required><button>Order</button></form>"""
SIGN_IN = """<!doctype html><meta charset="utf-8"><title>Sign in</title>
<form action="/sign-in" method="post"><input name="user" required><input name="password" type="password" required>
<button>Sign in</button></form>"""


@get("/", media_type=MediaType.HTML, sync_to_thread=False)
def page(request: AnyRequest) -> str:
    user = request.session.get("user")
    return PAGE.format(user=html.escape(user)) if user else SIGN_IN


@post("/sign-in", sync_to_thread=False)
def sign_in(request: AnyRequest, data: Annotated[SignIn, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> Redirect:
    if not is_password(data.user, data.password):
        raise NotAuthorizedException("wrong name or password")
    request.session["user"] = data.user
    return Redirect("/", status_code=303)


def signed_in(request: AnyRequest) -> str:
    user = request.session.get("user")
    if user is None:
        raise NotAuthorizedException("sign in first")
    return str(user)


@post("/token", status_code=200, sync_to_thread=False)
def token(request: AnyRequest) -> str:
    """A token for a program of the user's: it connects with it, and asks for another one when it runs out."""
    return jwt.encode({"sub": signed_in(request), "exp": time.time() + TOKEN_S}, SECRET, "HS256")


@post("/orders", status_code=200)
async def order(
    request: AnyRequest, data: Annotated[Order, Body(media_type=RequestEncodingType.URL_ENCODED)]
) -> dict[str, int]:
    ordered = Ordered(next(numbers), data.dish, signed_in(request))
    await hub.room("kitchen").post(ordered)  # everyone in the room is told; it has been kept when this goes on
    return {"number": ordered.number}


chat = hubbub.asgi(hub, jwt_key=SECRET)


@asgi("/chat", is_mount=True, copy_scope=True)
async def mounted(scope: Scope, receive: Any, send: Any) -> None:
    """A mount, and not `chat.under`, so that requests for the hub have the session, too.

    Litestar tells the rest of a path, with a slash behind it; a hub has to know what it is mounted under.
    """
    below = scope["path"].rstrip("/") or "/"
    await chat({**scope, "root_path": "/chat", "path": f"/chat{below}"}, receive, send)


sessions = CookieBackendConfig(secret=hashlib.sha256(SECRET.encode()).digest())
app = Litestar(
    [page, sign_in, token, order, mounted],
    middleware=[sessions.middleware],
    lifespan=[chat.lifespan],
)
