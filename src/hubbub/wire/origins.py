"""Which pages may speak to the server, and what the others and the operator are told.

Mostly it is no foreign page that is refused, but the server's own, behind a proxy that puts its own idea of the host
into `Host`.  A browser keeps the refusal of a WebSocket from its page, and a person would see a page that tries for
ever; so the reason is in the answers to the requests before it, too, and in the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus

import structlog

from hubbub.policy import is_allowed_origin
from hubbub.ration import Ration
from hubbub.settings import Settings
from hubbub.wire.denial import Denied
from hubbub.wire.request import Request

__all__ = ["Origins"]

log = structlog.get_logger("hubbub.http")

# What is shown of an origin: RFC 6454 section 6.2, and what no browser sends is not.
SHOWN = re.compile(r"[a-z][a-z0-9+.-]{0,15}://[\w.:\[\]-]{1,80}", re.ASCII | re.IGNORECASE)
MAX_HOST = 80
# Warnings of foreign pages.
LINES, LINES_EVERY_S = 5, 10.0


def nobody(_origin: str) -> bool:
    """No origin is listed."""
    return False


class Origins:
    """The origins of pages that may speak to the server: its own, and those that are listed.

    Args:
        now: a clock, in seconds.
        is_listed_there: whether an origin is listed elsewhere than in the settings.
    """

    def __init__(
        self,
        settings: Settings,
        now: Callable[[], float],
        is_listed_there: Callable[[str], bool] = nobody,
    ) -> None:
        self._now = now
        self._is_listed_there = is_listed_there
        self._listed = settings.allow_origin
        self._has_tls = not settings.no_tls
        self._lines = Ration(LINES, LINES_EVERY_S)

    def check(self, request: Request) -> None:
        """Check that no page of a foreign site has its visitor's browser send a request, and log that one does.

        It could not read the answer; but it could guess passwords from inside a network, and have its visitor's address
        slowed down for it.

        Raises:
            Denied: 403.
        """
        origin = request.header("origin")
        if origin is None:  # a program's
            return
        host = request.header("host") or ""
        is_tls = request.is_secure or self._has_tls
        if is_allowed_origin(origin, host, self._listed, is_tls=is_tls) or self._is_listed_there(origin):
            return
        shown = origin if SHOWN.fullmatch(origin) else "another site"
        left_out = self._lines.take(self._now())
        if left_out is not None:
            log.warning(
                "refused a foreign page; if it is our own, a proxy does not pass Host on",
                origin=shown,
                host=host[:MAX_HOST],
                address=request.address,
                left_out=left_out,
            )
        listing = "--allow-origin" if self._is_listed_there is nobody else "--allow-origin or client.allowed_origins"
        # Not the host: it may be the inner name of this machine, which the proxy hides.
        message = (
            f"a page of {shown} may not do this. If it is this server's own page, a proxy on the way does not pass Host"
            f" on as it came (nginx: proxy_set_header Host $http_host). Other pages need {listing}"
        )
        raise Denied(HTTPStatus.FORBIDDEN, "forbidden", message)
