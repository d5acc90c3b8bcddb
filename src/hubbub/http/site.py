"""The pages and their files, read once at start: few requests, few bytes, and none for what a browser has.

A page comes with its styles in it, so that it can be painted when it is there, and its modules are joined to one.
Where they cannot be, it names all that it needs, so that no chain of imports has to be followed.  What it loads is
named by a path that begins with a digest of all files: a browser keeps it for as long as nothing has changed, and asks
for nothing.  All URLs are relative: the site may be below any path of another one, and imports stay within such a path.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from hubbub.http.joining import joined
from hubbub.http.modules import needed, resolve, without_comments, without_indentation
from hubbub.http.pages import KEPT, Page, make_page
from hubbub.http.styles import inlined, is_alone

__all__ = ["Site", "read_files", "read_site", "style_source"]

WEB = Path(__file__).parent.parent / "web"
# The JavaScript client: in a checkout this is a link to its package.
CLIENT = WEB / "client"

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}

VERSIONED = re.compile(r"/v/([0-9a-f]{16})(/.*)")
# Where pages are, for their relative URLs.
HOME = "/index.html"
# A module with all that it needs is below this path.
WHOLE = "/whole"

TAG = re.compile(r"<(link|script|img)\b[^>]*>")
ATTRIBUTE = re.compile(r'([a-z-]+)="([^"]*)"')
# A tag with the line that it stands on alone.
LINE = r"[ \t]*{}\n?"


class Site(NamedTuple):
    """What there is to read.

    Attributes:
        version: a digest of all files that pages load.
        pages: what each path is answered with.
        kept: the files that pages load, by the path that follows `/v/VERSION`.
        styles: sources (CSP) of the styles in pages.
    """

    version: str
    pages: dict[str, Page]
    kept: dict[str, Page]
    styles: list[str]

    def find(self, path: str) -> Page | None:
        """What a path is answered with."""
        found = self.pages.get(path)
        if found is not None or not path.startswith("/v/"):
            return found
        versioned = VERSIONED.fullmatch(path)
        if versioned is None:
            return None
        version, inner = versioned.groups()
        if version == self.version:
            return self.kept.get(inner)
        # A page of another version, which another node has sent or a browser still shows, gets what there is.
        return self.pages.get(inner) if inner in self.kept else None


def read_files() -> dict[str, bytes]:
    """The page's files, and those of the JavaScript client, each by its path."""
    folders = {"/web/": WEB, "/": CLIENT, "/hubbub/": CLIENT / "hubbub"}
    return {
        f"{prefix}{file.name}": file.read_bytes()
        for prefix, folder in folders.items()
        for file in sorted(folder.iterdir())
        if file.suffix in MEDIA_TYPES
    }


def read_site(files: Mapping[str, bytes] | None = None, *, is_of_application: bool = False) -> Site:
    """The site that consists of files.

    `index.html` becomes `/`, another HTML file `/NAME`, a manifest `/NAME.webmanifest`; all else keeps its path.

    Args:
        files: what each path has; the page's own, where none are given.
        is_of_application: whether an application has the users, which pages are told.
    """
    if files is None:
        files = read_files()
    loaded = {path: content for path, content in files.items() if not path.endswith((".html", ".webmanifest"))}
    modules = {path: without_comments(content.decode()) for path, content in loaded.items() if path.endswith(".js")}
    loaded |= joined_entries(files, modules)
    small = {path: smaller(path, loaded, modules) for path in loaded}
    version = version_of(small)
    pages: dict[str, Page] = {}
    styles: list[str] = []
    for path, content in files.items():
        media_type = MEDIA_TYPES[Path(path).suffix]
        if path.endswith(".html"):
            whole, style = dressed(content.decode(), loaded, modules, version)
            if is_of_application:
                whole = whole.replace("<html ", '<html data-users="application" ', 1)
            pages[home_of(path)] = make_page(whole.encode(), media_type)
            styles += [style_source(style)] if style else []
        elif path.endswith(".webmanifest"):
            pages[f"/{Path(path).name}"] = make_page(content, media_type)
    pages |= {path: make_page(content, MEDIA_TYPES[Path(path).suffix]) for path, content in loaded.items()}
    kept = {path: make_page(content, MEDIA_TYPES[Path(path).suffix], KEPT) for path, content in small.items()}
    return Site(version, pages, kept, styles)


def joined_entries(files: Mapping[str, bytes], modules: Mapping[str, str]) -> dict[str, bytes]:
    """The modules that pages begin with, each joined with all that it needs, under a path of its own."""
    found = {}
    for path, content in files.items():
        for _, attributes in tags(content.decode()) if path.endswith(".html") else ():
            entry = resolve(attributes.get("src", ""), HOME)
            if attributes.get("type") == "module" and entry in modules:
                whole = joined(entry, modules)
                if whole is not None:
                    found[WHOLE + entry] = whole.encode()
    return found


def home_of(path: str) -> str:
    """The path of a page in an HTML file."""
    stem = Path(path).stem
    return "/" if stem == "index" else f"/{stem}"


def version_of(files: Mapping[str, bytes]) -> str:
    """A digest of files and their paths."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path} {len(files[path])}\n".encode() + files[path])
    return digest.hexdigest()[:16]


def smaller(path: str, loaded: Mapping[str, bytes], modules: Mapping[str, str]) -> bytes:
    """A file as it is below `/v/VERSION`."""
    return without_indentation(modules[path]).encode() if path in modules else loaded[path]


def style_source(style: str) -> str:
    """What allows a style by its digest (CSP level 3, section 6.7.3.3)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


def dressed(page: str, loaded: Mapping[str, bytes], modules: Mapping[str, str], version: str) -> tuple[str, str]:
    """A page with its styles in it, links to the modules that it needs, and versions in its paths; and the style."""
    sheets: list[str] = []
    preloads: dict[str, None] = {}
    for tag, attributes in tags(page):
        path = resolve(attributes.get("href", ""), HOME)
        if attributes.get("rel") == "stylesheet" and path in loaded and is_alone(attributes, loaded[path].decode()):
            sheets.append(inlined(loaded[path].decode(), path))
            page = re.sub(LINE.format(re.escape(tag)), "", page, count=1)
        source = attributes.get("src", "")
        entry = resolve(source, HOME)
        if attributes.get("type") == "module" and WHOLE + entry in loaded:
            page = page.replace(tag, tag.replace(f'"{source}"', f'"{WHOLE}{entry}"'))
        elif attributes.get("type") == "module" and entry in modules:
            preloads |= dict.fromkeys(needed(entry, modules))
    page = with_versions(page, loaded, version)
    style = "".join(sheets)
    links = "".join(f'<link rel="modulepreload" href="v/{version}{path}">\n' for path in preloads)
    block = links + (f"<style>{style}</style>\n" if style else "")
    return page.replace("</head>", f"{block}</head>", 1), style


def tags(page: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The tags of a page that may load something, each with its attributes."""
    for tag in TAG.finditer(page):
        yield tag[0], dict(ATTRIBUTE.findall(tag[0]))


def with_versions(page: str, loaded: Mapping[str, bytes], version: str) -> str:
    """A page whose tags name files by their version."""

    def with_version(attribute: re.Match[str]) -> str:
        path = resolve(attribute[2], HOME)
        return f'{attribute[1]}="v/{version}{path}"' if path in loaded else attribute[0]

    def changed(tag: re.Match[str]) -> str:
        return ATTRIBUTE.sub(with_version, tag[0])

    return TAG.sub(changed, page)
