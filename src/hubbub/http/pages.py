"""The page's files, read once and served from memory: there are few, and none can be asked for but these."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

__all__ = ["CLIENT", "WEB", "WebFile", "read_client", "read_pages"]

WEB = Path(__file__).parent.parent / "web"
# The JavaScript client: in a checkout this is a link to its package.
CLIENT = WEB / "client"

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class WebFile(NamedTuple):
    """One file of the page."""

    media_type: str
    content: bytes
    etag: str


def read_pages(folder: Path = WEB) -> dict[str, WebFile]:
    """The files of the folder, by name."""
    pages = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in MEDIA_TYPES:
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
            pages[file.name] = WebFile(MEDIA_TYPES[file.suffix], content, etag)
    return pages


def read_client(folder: Path = CLIENT) -> dict[str, WebFile]:
    """The modules of the JavaScript client, by the path that each is served at: `hubbub.js` is the one to import."""
    parts = {f"hubbub/{name}": file for name, file in read_pages(folder / "hubbub").items()}
    return {**read_pages(folder), **parts}
