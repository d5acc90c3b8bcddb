"""The cookie in which a page of the server's own has its session, where no script can read it.

It counts for requests that such a page sends, and for no others: `SameSite=Strict` keeps browsers from sending it for
other sites, and the Origin is held against the server's own, without those that are listed, because a page of another
port of this host is of the same site.
"""

from __future__ import annotations

from urllib.parse import quote

from hubbub.policy import is_allowed_origin
from hubbub.settings import Settings
from hubbub.wire.request import Request

__all__ = ["Cookies", "cookies_of"]

# The prefixes make a browser refuse one that was not set over https, and by this very host (RFC 6265bis section
# 4.1.3).  The latter is for the whole host alone: a hub below a path has one of the former.
SECURE, SECURE_BELOW, PLAIN = "__Host-hubbub", "__Secure-hubbub", "hubbub"
LOOK = ("GET", "HEAD")


class Cookies:
    """Writes and reads the cookie of a session.

    Args:
        ttl_s: how long a session lives, in seconds.
    """

    def __init__(self, settings: Settings, ttl_s: float) -> None:
        self._has_tls = not settings.no_tls
        self._ttl_s = int(ttl_s)

    def are_for(self, request: Request) -> bool:
        """Whether a page of the server's own has sent a request."""
        origin = request.header("origin")
        if origin is None:
            # No browser leaves it out where something is changed (Fetch standard, "append a request Origin header").
            return request.method in LOOK and request.header("sec-fetch-site") in ("same-origin", "none")
        host = request.header("host") or ""
        return is_allowed_origin(origin, host, (), is_tls=self._is_secure(request))

    def set(self, request: Request, token: str) -> str:
        """The header's value that keeps a session, for a page of the server's own."""
        return self._line(request, token, self._ttl_s)

    def clear(self, request: Request) -> str:
        """The header's value that takes it back."""
        return self._line(request, "", 0)

    def token_of(self, request: Request) -> str:
        """The token in the cookie of a request; empty without one, and where it does not count."""
        if "cookie" not in request.headers or not self.are_for(request):
            return ""
        return cookies_of(request).get(self._name(request), "")

    def _line(self, request: Request, token: str, age_s: int) -> str:
        name = self._name(request)
        secure = "" if name == PLAIN else "; Secure"
        path = quote(request.root) or "/"
        return f"{name}={token}; Path={path}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"

    def _name(self, request: Request) -> str:
        # What ends TLS on the way may say nothing of it; the page knows how it was loaded.
        is_https = self._is_secure(request) or (request.header("origin") or "").lower().startswith("https:")
        if not is_https:
            return PLAIN
        return SECURE_BELOW if request.root else SECURE

    def _is_secure(self, request: Request) -> bool:
        return self._has_tls or request.is_secure


def cookies_of(request: Request) -> dict[str, str]:
    """The cookies of a request (RFC 6265 section 4.2.1); of several with one name, the first."""
    found: dict[str, str] = {}
    for pair in ";".join(request.headers.get("cookie", ())).split(";"):
        name, separator, value = pair.strip().partition("=")
        if separator:
            found.setdefault(name, value)
    return found
