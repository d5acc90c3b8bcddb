"""Files that are sent as they are, from memory: with their tags, and compressed where that makes them smaller."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from hubbub.http.coding import takes_gzip
from hubbub.wire.request import Request, Response

__all__ = ["KEPT", "REVALIDATED", "Page", "make_page"]

# For what may change, and for what never does under its path (RFC 8246).
REVALIDATED = "no-cache"
KEPT = "public, max-age=31536000, immutable"

# What fits into one packet with the headers gains nothing.
MIN_ZIPPED = 600
NOT_ZIPPED = ("image/png",)


class Page(NamedTuple):
    """What a path is answered with: as it is, and compressed where that is worth it.

    Each has a response with the content, and one for who has it already.
    """

    plain: tuple[Response, Response]
    zipped: tuple[Response, Response] | None

    def answer(self, request: Request) -> Response:
        """The file, or 304 to one who has it (RFC 9110 section 13.1.2)."""
        zipped = self.zipped
        chosen = zipped if zipped and takes_gzip(request.headers.get("accept-encoding", ())) else self.plain
        whole, known = chosen
        return known if is_known(request.headers.get("if-none-match", ()), whole.headers["ETag"]) else whole


def is_known(tags: Iterable[str], etag: str) -> bool:
    """Whether a tag is among those of an If-None-Match; `*` is for any."""
    listed = ",".join(tags)
    return etag in listed or listed.strip() == "*"


def make_page(content: bytes, media_type: str, caching: str = REVALIDATED) -> Page:
    """A file as it is sent.

    Args:
        caching: its Cache-Control.
    """
    digest = hashlib.sha256(content).hexdigest()[:20]
    common = {"Cache-Control": caching}
    smaller = b"" if media_type in NOT_ZIPPED or len(content) < MIN_ZIPPED else gzip.compress(content, 9, mtime=0)
    if not smaller or len(smaller) >= len(content):
        return Page(answers(content, media_type, common | {"ETag": f'"{digest}"'}), None)
    common["Vary"] = "Accept-Encoding"
    return Page(
        answers(content, media_type, common | {"ETag": f'"{digest}"'}),
        answers(smaller, media_type, common | {"ETag": f'"{digest}-gzip"', "Content-Encoding": "gzip"}),
    )


def answers(content: bytes, media_type: str, headers: dict[str, str]) -> tuple[Response, Response]:
    """The whole, and what is said to who has it (RFC 9110 section 15.4.5)."""
    known = {name: value for name, value in headers.items() if name != "Content-Encoding"}
    return Response(200, content, media_type, headers), Response(304, headers=known)
