"""The site: pages with their styles and the names of their modules, and files under paths with a version."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import struct

import pytest

from hubbub.http.modules import imported, needed, without_comments, without_indentation
from hubbub.http.pages import KEPT, Page, make_page
from hubbub.http.site import Site, read_site
from hubbub.http.styles import inlined
from hubbub.wire.request import Request, Response

INDEX = b"""<!doctype html>
<html><head>
<link rel="stylesheet" href="/web/base.css">
<link href="/web/more.css" rel="stylesheet">
<link rel="stylesheet" href="/web/print.css" media="print">
<link rel="icon" href="/web/icon.svg">
<script type="module" src="/web/app.js"></script>
</head><body><img src="/web/icon.svg" alt=""><a href="/web/icon.svg">icon</a></body></html>
"""
FILES = {
    "/web/index.html": INDEX,
    "/web/admin.html": b'<html><head><script type="module" src="/web/dom.js"></script></head></html>',
    "/web/app.webmanifest": b"{}",
    "/web/base.css": b"/* the base */\nbody {\n  color: red;\n  background: url(icon.svg);\n}\n",
    "/web/more.css": b'p::before { content: "/* no comment */"; }\n',
    "/web/print.css": b"p { color: black; }\n",
    "/web/icon.svg": b"<svg/>",
    "/web/app.js": b'// Begin.\nimport { find } from "./dom.js";\nimport { Hubbub } from "../hubbub.js";\nfind();\n',
    "/web/dom.js": b"/**\n * Finds.\n */\nexport function find() {}\n",
    "/web/apart.js": b"export const apart = 1;\n",
    "/hubbub.js": b'export { Hubbub } from "./hubbub/chat.js";\n',
    "/hubbub/chat.js": b"export class Hubbub {}\n",
}


def text_of(page: Page | None) -> str:
    assert page is not None
    return page.plain[0].body.decode()


@pytest.fixture
def site() -> Site:
    return read_site(FILES)


# Pages


def test_a_page_loads_one_module(site: Site) -> None:
    page = text_of(site.find("/"))
    assert "modulepreload" not in page
    [path] = re.findall(r'<script type="module" src="([^"]+)">', page)
    assert path == f"v/{site.version}/whole/web/app.js"
    assert text_of(site.find(f"/{path}")).count("=>") == 3


def test_a_page_whose_modules_cannot_be_joined_names_all_that_it_needs() -> None:
    site = read_site(FILES | {"/hubbub/chat.js": b"export default class Hubbub {}\n"})
    links = re.findall(r'<link rel="modulepreload" href="([^"]+)">', text_of(site.find("/")))
    assert links == [f"v/{site.version}{path}" for path in ("/web/dom.js", "/hubbub.js", "/hubbub/chat.js")]
    assert "modulepreload" not in text_of(site.find("/admin"))


def test_a_page_has_its_styles_in_it_and_they_are_allowed_by_their_digest(site: Site) -> None:
    page = text_of(site.find("/"))
    [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert (
        style
        == 'body {\ncolor: red;\nbackground: url("web/icon.svg");\n}\np::before { content: "/* no comment */"; }\n'
    )
    assert site.styles == [f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"]
    assert re.findall(r'<link rel="stylesheet"[^>]*>', page) == [
        f'<link rel="stylesheet" href="v/{site.version}/web/print.css" media="print">'
    ]


def test_what_a_page_loads_has_the_version_in_its_path(site: Site) -> None:
    page = text_of(site.find("/"))
    assert f'<script type="module" src="v/{site.version}/whole/web/app.js">' in page
    assert f'<img src="v/{site.version}/web/icon.svg" alt="">' in page
    assert '<a href="/web/icon.svg">' in page  # a link is no load


def test_a_page_may_name_what_it_loads_from_where_it_is(site: Site) -> None:
    relative = re.sub(rb'(href|src)="/', rb'\1="', INDEX).replace(b'<a href="', b'<a href="/')
    assert text_of(read_site(FILES | {"/web/index.html": relative}).find("/")) == text_of(site.find("/"))


@pytest.mark.parametrize("path", ["/web/index.html", "/web/admin.html", "/index", "/web/app.webmanifest", "/web/no.js"])
def test_a_page_has_one_path(site: Site, path: str) -> None:
    assert site.find(path) is None


def test_a_manifest_is_at_the_root(site: Site) -> None:
    assert text_of(site.find("/app.webmanifest")) == "{}"


# Versions


def test_a_kept_module_is_smaller_and_the_other_as_it_was_written(site: Site) -> None:
    kept = text_of(site.find(f"/v/{site.version}/web/app.js"))
    assert kept == '\nimport { find } from "./dom.js";\nimport { Hubbub } from "../hubbub.js";\nfind();\n'
    assert text_of(site.find("/web/app.js")) == FILES["/web/app.js"].decode()


def test_what_has_a_version_is_kept_and_the_rest_is_asked_for_again(site: Site) -> None:
    kept, asked = site.find(f"/v/{site.version}/web/dom.js"), site.find("/web/dom.js")
    assert kept is not None
    assert asked is not None
    assert kept.plain[0].headers["Cache-Control"] == KEPT
    assert asked.plain[0].headers["Cache-Control"] == "no-cache"


def test_a_page_of_another_version_gets_what_there_is_and_keeps_none_of_it(site: Site) -> None:
    page = site.find(f"/v/{'a' * 16}/web/dom.js")
    assert page is not None
    assert page.plain[0].headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/v/",
        "/v/x/web/dom.js",
        "/v/{}",
        "/v/{}/",
        "/v/{}web/dom.js",
        "/v/{}/web/../web/dom.js",
        "/v/{}/v/{}/web/dom.js",
    ],
)
def test_nothing_else_has_a_version(site: Site, path: str) -> None:
    assert site.find(path.format(site.version, site.version)) is None
    assert site.find(path.format("a" * 16, "a" * 16)) is None


@pytest.mark.parametrize("path", sorted(path for path in FILES if not path.endswith((".html", ".webmanifest"))))
def test_any_change_of_a_file_is_another_version(site: Site, path: str) -> None:
    code = b"\nexport const more = 1;\n" if path.endswith(".js") else b" "
    assert read_site(FILES | {path: FILES[path] + code}).version != site.version
    assert read_site(dict(reversed(FILES.items()))).version == site.version


def test_the_page_itself_loads_nothing_that_is_not_there() -> None:
    own = read_site()
    page = text_of(own.find("/"))
    paths = re.findall(r'<(?:link|script|img)\b[^>]*(?:href|src)="([^"]+)"', page)
    assert len(paths) > 3
    assert [path for path in paths if own.find(f"/{path}") is None] == []
    for path in own.kept:
        if path.endswith(".js"):
            for other in imported(text_of(own.kept[path]), path):
                assert other in own.kept


def test_the_pages_have_no_url_that_begins_at_the_root_of_a_host() -> None:
    own = read_site()
    absolute = re.compile(r"""["'`(]/(?:web|v|hubbub)\b""")
    found = [path for path in ("/", "/admin", "/hubbub.webmanifest") if absolute.search(text_of(own.find(path)))]
    found += [
        path for path, page in own.kept.items() if path.endswith((".js", ".css")) and absolute.search(text_of(page))
    ]
    assert found == []


# Modules


@pytest.mark.parametrize(
    ("code", "paths"),
    [
        ('import "./a.js";', ["/web/a.js"]),
        ("import a from './a.js'", ["/web/a.js"]),
        ('import * as a from "../a.js";', ["/a.js"]),
        ('import {\n  one,\n  two as three,\n} from "./deep/a.js";', ["/web/deep/a.js"]),
        ('export * from "/a.js";\n  export { b } from "./b.js";', ["/a.js", "/web/b.js"]),
        ('import { a } from "a-package";', []),
        ('const text = `\n`; // import "./a.js"', []),
        ('export const from = "./a.js";', []),
        ('export function f() { return Array.from("./a.js"); }', []),
        ('const late = await import("./a.js");', []),
    ],
)
def test_import_statements_are_read(code: str, paths: list[str]) -> None:
    assert list(imported(code, "/web/app.js")) == paths


def test_modules_that_import_each_other_are_named_once() -> None:
    modules = {"/a.js": 'import "./b.js"; import "./c.js"', "/b.js": 'import "./a.js"', "/c.js": ""}
    assert needed("/a.js", modules) == ["/b.js"]  # of a line, the first statement alone is looked at
    modules["/a.js"] = 'import "./b.js";\nimport "./c.js";\nimport "./gone.js";'
    assert needed("/a.js", modules) == ["/b.js", "/c.js"]


def test_comments_of_whole_lines_go_and_lines_keep_their_numbers() -> None:
    code = "// One.\n/**\n * Two.\n */\nconst a = 1; // three\n  /* four */\n  const url = 'http://x';\n"
    assert without_comments(code) == "\n\n\n\nconst a = 1; // three\n\n  const url = 'http://x';\n"
    assert without_indentation("if (a) {\n  b();\n}\n") == "if (a) {\nb();\n}\n"


@pytest.mark.parametrize(
    "code",
    [
        "const a = `\n// no comment\n`;\n",
        "const a = `${1}\n  /* no comment */\n`;\n",
        "const a = 'one \\\n  // no comment';\n",
    ],
)
def test_a_module_with_a_text_over_several_lines_stays_as_it_is(code: str) -> None:
    assert without_comments(code) == code
    assert without_indentation(code) == code


def test_code_behind_a_comment_stays() -> None:
    code = "/* a */ run();\nstop(); /* b */\n"
    assert without_comments(code) == code


def test_a_sheet_within_a_page_means_the_same() -> None:
    sheet = (
        "a { background: url('../x.svg'); }\n  b { background: url(data:image/svg,/*x*/); }\n/* c */ i { color: red }"
    )
    assert inlined(sheet, "/web/a.css") == (
        'a { background: url("x.svg"); }\nb { background: url(data:image/svg,/*x*/); }\ni { color: red }\n'
    )


# Codings


def ask(page: Page, **headers: str) -> Response:
    return page.answer(Request("GET", "/", "", {name.replace("_", "-"): [value] for name, value in headers.items()}))


def test_a_compressed_file_has_a_tag_of_its_own() -> None:
    page = make_page(b"many words " * 200, "text/css")
    plain, zipped = ask(page), ask(page, accept_encoding="gzip")
    assert gzip.decompress(zipped.body) == plain.body
    assert plain.headers["Vary"] == zipped.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != zipped.headers["ETag"]
    known = ask(page, accept_encoding="gzip", if_none_match=zipped.headers["ETag"])
    assert (known.status, known.body) == (304, b"")
    assert known.headers == {name: zipped.headers[name] for name in ("Cache-Control", "Vary", "ETag")}
    assert ask(page, accept_encoding="gzip", if_none_match=plain.headers["ETag"]).status == 200
    assert ask(page, if_none_match=zipped.headers["ETag"]).status == 200
    assert ask(page, if_none_match="*").status == 304


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"short" * 20, "text/css"), (b"x" * 2000, "image/png"), (bytes(range(256)) * 3, "text/css")],
)
def test_what_gains_nothing_is_not_compressed(content: bytes, media_type: str) -> None:
    answer = ask(make_page(content, media_type), accept_encoding="gzip")
    assert answer.body == content or len(answer.body) < len(content)
    if media_type == "image/png" or len(content) < 600:
        assert answer.body == content
        assert "Vary" not in answer.headers


def test_it_is_the_same_at_each_start() -> None:
    assert make_page(b"words " * 500, "text/css") == make_page(b"words " * 500, "text/css")


# The installed page


def size_of(png: bytes) -> str:
    """The width and the height in a PNG's header (W3C PNG, section 11.2.1)."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return "x".join(str(number) for number in struct.unpack(">II", png[16:24]))


def test_the_icons_of_the_manifest_are_there_in_their_sizes() -> None:
    own = read_site()
    [path] = re.findall(r'<link rel="manifest" href="([^"]+)">', text_of(own.find("/")))
    icons = json.loads(text_of(own.find(f"/{path}")))["icons"]
    assert {icon.get("purpose", "any") for icon in icons} == {"any", "maskable"}
    for icon in icons:
        page = own.find(f"/{icon['src']}")
        assert page is not None
        assert page.plain[0].media_type == icon["type"]
        if icon["type"] == "image/png":
            assert size_of(page.plain[0].body) == icon["sizes"]
            assert len(page.plain[0].body) < 8192


def test_pages_are_told_that_an_application_has_the_users() -> None:
    assert "data-users" not in text_of(read_site().find("/"))
    site = read_site(is_of_application=True)
    assert '<html data-users="application" lang="en">' in text_of(site.find("/"))
    assert '<html data-users="application" lang="en">' in text_of(site.find("/admin"))
