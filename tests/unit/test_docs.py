"""The pages: their links, their lists and their examples are true."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import re
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import hubbub
import hubbub.testing
from hubbub import sdk
from hubbub.testing import at_work

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Folders whose names begin with a dot are not the project's.
PAGES = [
    page for page in sorted(ROOT.rglob("*.md")) if not any(part[0] == "." for part in page.relative_to(ROOT).parts)
]
# A page that is a part of another one, and read there.
PARTS = {ROOT / "comparison" / part: DOCS for part in ("keeps.md", "losses.md", "chat-losses.md")}

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
# A file or a folder of the project, in a code span.
NAMED = re.compile(r"`((?:src|docs|tests|examples|comparison|deploy)/[\w./-]*)`")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# Links


def links(text: str) -> list[str]:
    """The links of a page to something of the project, but for those within the page."""
    return [link for link in LINK.findall(text) if "://" not in link and not link.startswith(("#", "mailto:"))]


def anchor(heading: str) -> str:
    """What a heading is linked by."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def is_there(link: str, folder: Path) -> bool:
    """Whether a link of a page in a folder leads to a file and, where it names one, a heading of it."""
    file, _, fragment = link.partition("#")
    target = folder / file
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.*)", target.read_text(), re.MULTILINE) if fragment else []
    return not fragment or fragment in map(anchor, headings)


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    folder = PARTS.get(page, page.parent)
    broken = [link for link in links(page.read_text()) if not is_there(link, folder)]
    assert not broken, f"{name_of(page)} links to what is not there: {', '.join(broken)}"


@every_page
def test_every_file_that_is_named_is_there(page: Path) -> None:
    missing = [file for file in NAMED.findall(page.read_text()) if not (ROOT / file).exists()]
    assert not missing, f"{name_of(page)} names what is not there: {', '.join(missing)}"


def test_the_index_links_every_page() -> None:
    linked = {(DOCS / link).resolve() for link in links((DOCS / "index.md").read_text())}
    pages = {page for page in PAGES if page.parent == DOCS or page.parent == ROOT}
    missing = pages - linked - {DOCS / "index.md", ROOT / "README.md"}
    assert not missing, f"docs/index.md does not link {', '.join(map(name_of, sorted(missing)))}"


def test_every_picture_is_shown_and_small() -> None:
    pictures = {file: file.stat().st_size for file in DOCS.rglob("*.png")}
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page.read_text())}
    assert not set(pictures) - shown, "pictures that no page shows"
    assert max(pictures.values()) < 150_000
    assert sum(pictures.values()) < 800_000


def test_links_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "here.md").write_text("# A page\n\n## What's new, in v1\n")
    text = (
        "[a](here.md) [b](https://example.com) [c](#below) ![d](gone.png) [e](here.md#whats-new-in-v1) [f](here.md#old)"
    )
    assert links(text) == ["here.md", "gone.png", "here.md#whats-new-in-v1", "here.md#old"]
    assert [link for link in links(text) if not is_there(link, tmp_path)] == ["gone.png", "here.md#old"]


# Security

# A test, by its file below tests/ and its name; a row of a table.
NAMED_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)


def names_of_tests(file: Path) -> set[str]:
    """The names of the tests in a file."""
    defined = ast.walk(ast.parse(file.read_text())) if file.exists() else ()
    return {node.name for node in defined if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED_TEST.findall((DOCS / "security.md").read_text())
    assert len(named) > 100
    missing = {f"{file}::{test}" for file, test in named if test not in names_of_tests(ROOT / "tests" / file)}
    assert not missing, f"docs/security.md names tests that are not there: {', '.join(sorted(missing))}"


def test_what_stops_an_attacker_is_proved_by_a_test() -> None:
    [_, attackers, _] = re.split(
        r"^## (?:Attackers|What is left)$", (DOCS / "security.md").read_text(), flags=re.MULTILINE
    )
    rows = [row for row in ROW.findall(attackers) if "---" not in row and not row.endswith("| test ")]
    unproved = [row for row in rows if not NAMED_TEST.search(row.rpartition(" | ")[2])]
    assert len(rows) > 40
    assert not unproved, f"docs/security.md says, and no test proves: {unproved}"


# The house


def listed(page: str) -> Iterator[Path]:
    """The files and folders in the drawing of the house, each below the line that it is indented under."""
    [drawing] = re.findall(r"^## The house\n\n(.*?)\n\n", page, re.MULTILINE | re.DOTALL)
    above: list[tuple[int, Path]] = []
    for line in drawing.splitlines():
        indent, name = len(line) - len(line.lstrip()), line.split()[0]
        while above and above[-1][0] >= indent:
            above.pop()
        path = (above[-1][1] if above else ROOT) / name
        above.append((indent, path))
        yield path


def test_the_drawing_of_the_house_has_what_is_there() -> None:
    drawn = set(listed((DOCS / "architecture.md").read_text()))
    # A folder is drawn either with all its modules or, in one line, with none.
    folders = {path.parent for path in drawn if path.is_relative_to(ROOT / "src" / "hubbub")} - {ROOT / "src"}
    there = {path for folder in folders for path in folder.iterdir() if path.suffix == ".py" or is_package(path)}
    # A package whose modules are drawn need not say that it has an `__init__.py` of one line.
    there -= {path / "__init__.py" for path in folders if (path / "__init__.py") not in drawn}
    drawn -= {path for path in drawn if path.is_relative_to(ROOT / "clients") and path.exists()}
    drawn -= {ROOT / "src" / "hubbub", ROOT / "comparison", ROOT / "deploy", ROOT / "tests"}
    assert not drawn - there, f"drawn, and not there: {', '.join(sorted(map(name_of, drawn - there)))}"
    assert not there - drawn, f"there, and not drawn: {', '.join(sorted(map(name_of, there - drawn)))}"


def is_package(path: Path) -> bool:
    """Whether a path is a folder with something in it that belongs to the project."""
    return path.is_dir() and any(inner.suffix in (".py", ".js") for inner in path.iterdir())


# Public names


def code_of(page: str) -> str:
    """What stands in code on a page."""
    return "\n".join(CODE.findall((DOCS / page).read_text()))


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("hub.md", vars(hubbub)["__all__"]),
        ("client.md", sdk.__all__),
        ("testing.md", hubbub.testing.__all__),
    ],
)
def test_every_public_name_is_explained(page: str, names: Sequence[str]) -> None:
    code = code_of(page)
    missing = [name for name in names if not re.search(rf"\b{name}\b", code)]
    assert not missing, f"docs/{page} does not say what these are: {', '.join(missing)}"


# Examples


def examples(page: Path) -> list[str]:
    return FENCE.findall(page.read_text())


def compiled(example: str, page: Path) -> CodeType:
    """An example as code, which may await."""
    code: CodeType = compile(example, name_of(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


def imports(example: str) -> Iterator[tuple[str, str | None]]:
    """What an example imports of Hubbub: modules, each with a name of it, or alone."""
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.startswith("hubbub"))
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("hubbub"):
            yield from ((str(node.module), alias.name) for alias in node.names)


@every_page
def test_every_example_is_python_and_imports_what_is_there(page: Path) -> None:
    for example in examples(page):
        compiled(example, page)
        for module, name in imports(example):
            found = importlib.import_module(module)
            assert name is None or name in found.__all__, f"{name_of(page)} imports {name}, which is not {module}'s"


async def test_the_first_program_of_the_readme_runs() -> None:
    names = run(examples(ROOT / "README.md")[0])
    async with at_work(names["hub"]) as stage:
        percy = await stage.client("percy")
        await percy.join("lunch")
        tally = {"poll": "lunch", "counts": {"1": 1, "2": 0}}
        assert await percy.ask("vote", {"poll": "lunch", "option": 1}) == tally
        [heard] = percy.take()
        assert (heard["type"], heard["payload"]["seq"]) == ("tally", 1)
        with pytest.raises(hubbub.Refused, match="option is 1 or 2"):
            await percy.ask("vote", {"poll": "lunch", "option": 3})


async def test_the_event_of_the_tutorial_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = DOCS / "tutorial.md"
    _hello, lunch, question = examples(page)
    names = run(lunch)
    async with at_work(names["hub"]) as stage:
        alice = await stage.client("alice")
        await alice.join("general")
        await run_in_coroutine(question, page, {"chat": Asking(alice)})
        printed = capsys.readouterr().out.strip()
        assert f"prints `{printed}`" in page.read_text()
        [heard] = await alice.hear()
        assert heard["type"] == "suggested"
        with pytest.raises(hubbub.Refused, match="name a place"):
            await alice.ask("suggest", {"place": " "})


async def test_the_examples_of_the_page_on_writing_a_server_run() -> None:
    page = DOCS / "hub.md"
    events, handler, room, policy, thread, serving = examples(page)
    tally = "class Tally(Event, tag='tally'):\n    poll: str\nclass Cursor(Event, tag='cursor'):\n    at: int\n"
    heading = f"from hubbub import *\nhub = Hub()\n{tally}tally = Tally('lunch')\ncursor = Cursor(1)\n"
    heading += "players = ['alice']\nclass Alarm(Event, tag='alarm'):\n    text: str\n"
    names = run(f"{heading}{events}{handler}{policy}")
    async with at_work(names["hub"]) as stage:
        percy = await stage.client("percy")
        await percy.join("lunch")
        assert await percy.ask("vote", {"poll": "lunch", "option": 1}) == {"poll": "lunch"}
        exec(compiled(room, page), names)
        # What is not kept does not wait for the log.
        assert [event["type"] for event in await percy.hear()] == ["cursor", "tally"]
        assert names["lunch"].name == "lunch"
        exec(compiled(thread, page), names)
        assert await asyncio.to_thread(names["sound_the_alarm"], names["Alarm"]("fire")) == 1
        for user in ("percy", "alice"):
            guest = await stage.client(user)
            await guest.join("chess")
            assert stage.hub.may(guest.client, hubbub.Act.POST, "chess") == (user == "alice")
    assert "hubbub.serving(hub, Settings(port=9000))" in serving  # tests/unit/test_server.py has one serve


async def test_the_check_of_the_page_on_users_runs() -> None:
    [check] = examples(DOCS / "users.md")
    who = run(check)["who"]
    page = hubbub.RequestView("POST", "/otp", {}, {"session": "the session of the page that Zoe has open"})
    program = hubbub.RequestView("POST", "/login", {}, {})
    zoe = hubbub.Credentials("zoe@example.com", "correct horse")
    assert await who(hubbub.Credentials(), page) == hubbub.User("Zoe", info={"id": 7})
    assert await who(zoe, program) == hubbub.User("zoe@example.com", role=hubbub.Role.GUEST)
    for name, password in (("zoe@example.com", "a wrong one"), ("zoe@example.com", None), ("x", None), ("x", "")):
        assert await who(hubbub.Credentials(name, password), program) is None
    assert await who(hubbub.Credentials(), program) is None


class Asking:
    """A guest as a program at the other end has it."""

    def __init__(self, guest: hubbub.testing.Guest) -> None:
        self._guest = guest

    async def request(self, type_: str, payload: dict[str, Any]) -> Any:
        """Send an event; the payload of its ack."""
        return await self._guest.ask(type_, payload)


def run(program: str) -> dict[str, Any]:
    """Run a program whose annotations can be read; its names."""
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(program, "example", "exec", dont_inherit=True), names)
    return names


async def run_in_coroutine(example: str, page: Path, names: dict[str, Any]) -> None:
    """Run code that may await."""
    result = eval(compiled(example, page), names)
    if inspect.iscoroutine(result):
        waiting: Awaitable[object] = result
        await waiting


# Whole programs


@pytest.mark.parametrize("program", sorted((ROOT / "examples").glob("*.py")), ids=name_of)
def test_every_program_in_examples_is_run_by_a_test(program: Path) -> None:
    tests = [file for file in (ROOT / "tests").glob("*/test_*example*.py") if program.name in file.read_text()]
    assert tests, f"no test of the examples names {program.name}"
