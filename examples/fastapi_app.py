"""Lesson: a hub in a FastAPI application.  Its users are the application's: by the session of a page, or by a token.

Start it with `uvicorn fastapi_app:app`, open http://127.0.0.1:8000, and sign in as `zoe` with `correct horse`.
"""

import hmac
import html
import itertools
import os
import secrets
import time
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.middleware.sessions import SessionMiddleware

import hubbub
from hubbub import Credentials, Event, Hub, RequestView

# Processes that share the work share the secret; one that is made up signs everybody out with each start.
SECRET = os.environ.get("SECRET") or secrets.token_hex(32)
# A table of users, with hashes of their passwords, has its place here.
PASSWORDS = {"zoe": "correct horse", "yan": "battery staple"}
TOKEN_S = 300

hub = Hub()
numbers = itertools.count(1)


class Ordered(Event, tag="ordered"):
    number: int
    dish: str
    by: str


def is_password(user: str, password: str) -> bool:
    return hmac.compare_digest(PASSWORDS.get(user, "").encode(), password.encode()) and user in PASSWORDS


@hub.authenticate
def who(credentials: Credentials, request: RequestView) -> str | None:
    """A page has the session that it signed in with; a program has a name and a password."""
    if credentials.username is None:
        session: dict[str, str] = request.scope["session"]
        return session.get("user")
    return credentials.username if is_password(credentials.username, credentials.password or "") else None


chat = hubbub.asgi(hub, jwt_key=SECRET)
app = FastAPI(lifespan=chat.lifespan)
app.add_middleware(SessionMiddleware, secret_key=SECRET, same_site="lax")
app.mount("/chat", chat)

PAGE = """<!doctype html><meta charset="utf-8"><title>The kitchen</title>
<p>Signed in as {user}. <a href="/chat/">Chat</a></p>
<form action="/orders" method="post" target="told"><input name="dish" required><button>Order</button></form>
<iframe name="told" hidden></iframe>
<ol id="orders"></ol>
<script type="module">
  import {{ Hubbub }} from "/chat/hubbub.js";
  const chat = new Hubbub("/chat", {{ credentials: "same-origin" }});
  chat.on("message", ({{ type, payload }}) => {{
    if (type !== "ordered") return;
    const row = document.createElement("li");
    row.textContent = `${{payload.dish}}, for ${{payload.by}}`;
    document.querySelector("#orders").append(row);
  }});
  await chat.signIn();
  await chat.join("kitchen");
</script>"""
SIGN_IN = """<!doctype html><meta charset="utf-8"><title>Sign in</title>
<form action="/sign-in" method="post"><input name="user" required><input name="password" type="password" required>
<button>Sign in</button></form>"""


@app.get("/")
def page(request: Request) -> HTMLResponse:
    user = request.session.get("user")
    return HTMLResponse(PAGE.format(user=html.escape(user)) if user else SIGN_IN)


@app.post("/sign-in")
def sign_in(request: Request, user: Annotated[str, Form()], password: Annotated[str, Form()]) -> RedirectResponse:
    if not is_password(user, password):
        raise HTTPException(401, "wrong name or password")
    request.session["user"] = user
    return RedirectResponse("/", 303)


def signed_in(request: Request) -> str:
    user: str | None = request.session.get("user")
    if user is None:
        raise HTTPException(401, "sign in first")
    return user


SignedIn = Annotated[str, Depends(signed_in)]


@app.post("/token", response_class=PlainTextResponse)
def token(user: SignedIn) -> str:
    """A token for a program of the user's: it connects with it, and asks for another one when it runs out."""
    return jwt.encode({"sub": user, "exp": time.time() + TOKEN_S}, SECRET, "HS256")


@app.post("/orders")
async def order(user: SignedIn, dish: Annotated[str, Form()]) -> dict[str, int]:
    ordered = Ordered(next(numbers), dish, user)
    await hub.room("kitchen").post(ordered)  # everyone in the room is told; it has been kept when this goes on
    return {"number": ordered.number}
