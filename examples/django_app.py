"""Lesson: a hub in a Django application.  Its users are Django's: by the session of a page, or by a token.

`python django_app.py migrate`, `python django_app.py createsuperuser`, then `uvicorn django_app:application`; open
http://127.0.0.1:8000 and sign in.  In a project of several files, "The hub" has its place in asgi.py.
"""

import html
import itertools
import os
import secrets
import sys
import time

import django
import jwt
from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.db import close_old_connections
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.views.decorators.http import require_POST

import hubbub
from hubbub import Credentials, Event, Hub, RequestView, User

# Processes that share the work share the secret; one that is made up signs everybody out with each start.
SECRET = os.environ.get("SECRET") or secrets.token_hex(32)
TOKEN_S = 300

settings.configure(
    SECRET_KEY=SECRET,
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DATABASE", "django_app.sqlite3"),
        }
    },
)
django.setup()

# The hub

hub = Hub()
numbers = itertools.count(1)


class Ordered(Event, tag="ordered"):
    number: int
    dish: str
    by: str


@hub.authenticate
def who(credentials: Credentials, request: RequestView) -> User | None:
    """A page has the session that it signed in with; a program has a name and a password.

    It is a plain function, so it runs in a thread, where Django's models may be used.
    """
    close_old_connections()
    name, password = credentials.username, credentials.password
    user = auth.get_user(asking(request)) if name is None else auth.authenticate(username=name, password=password)
    return User(user.get_username(), info={"id": user.pk}) if user is not None and user.is_active else None


def asking(request: RequestView) -> HttpRequest:
    """The request as Django's middleware would hand it to a view."""
    asked = HttpRequest()
    asked.session = SessionStore(request.cookies.get(settings.SESSION_COOKIE_NAME))
    return asked


chat = hubbub.asgi(hub, jwt_key=SECRET)
application = chat.under("/chat", get_asgi_application())

# The pages

PAGE = """<!doctype html><meta charset="utf-8"><title>The kitchen</title>
<p>Signed in as {user}. <a href="/chat/">Chat</a></p>
<form action="/orders" method="post"><input name="csrfmiddlewaretoken" type="hidden" value="{csrf}">
<input name="dish" required><button>Order</button></form>"""
SIGN_IN = """<!doctype html><meta charset="utf-8"><title>Sign in</title>
<form action="/sign-in" method="post"><input name="csrfmiddlewaretoken" type="hidden" value="{csrf}">
<input name="user" required><input name="password" type="password" required><button>Sign in</button></form>"""


def page(request: HttpRequest) -> HttpResponse:
    user = request.user
    csrf = get_token(request)
    if not user.is_authenticated:
        return HttpResponse(SIGN_IN.format(csrf=csrf))
    return HttpResponse(PAGE.format(csrf=csrf, user=html.escape(user.get_username())))


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    user = auth.authenticate(request, username=request.POST.get("user"), password=request.POST.get("password"))
    if user is None:
        return HttpResponse("wrong name or password", status=401)
    auth.login(request, user)
    return HttpResponseRedirect("/")


@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """A token for a program of the user's: it connects with it, and asks for another one when it runs out."""
    if not request.user.is_authenticated:
        return HttpResponse("sign in first", status=401)
    claims = {"sub": request.user.get_username(), "exp": time.time() + TOKEN_S}
    return JsonResponse(jwt.encode(claims, SECRET, "HS256"), safe=False)


@require_POST
async def order(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    if not user.is_authenticated:
        return HttpResponse("sign in first", status=401)
    ordered = Ordered(next(numbers), request.POST.get("dish", ""), user.get_username())
    await hub.room("kitchen").post(ordered)  # everyone in the room is told; it has been kept when this goes on
    return JsonResponse({"number": ordered.number})


urlpatterns = [
    path("", page),
    path("sign-in", sign_in),
    path("token", token),
    path("orders", order),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
