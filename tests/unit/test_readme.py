"""What the README has one type is there, by the name that `make serve` gives it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from cyclopts import App

from hubbub.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

# Examples in Python are run by test_docs.py.
TEXT = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
CODE = [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", TEXT)] + re.findall(
    r"^ {4}(\S.*)$", TEXT, re.MULTILINE
)

# Extras that are for those who work on Hubbub itself.
OF_DEVELOPMENT = {"dev", "deploy"}


def commands() -> list[list[str]]:
    """What is typed in a shell to run Hubbub, in words."""
    return [code.split() for code in CODE if re.match(r"(\S*/)?hubbub( |$)", code)]


def test_hubbub_is_where_make_serve_puts_it() -> None:
    assert len(commands()) > 8
    assert {words[0] for words in commands()} == {".venv/bin/hubbub"}
    makefile = (ROOT / "Makefile").read_text()
    assert "BIN := .venv/bin\n" in makefile
    targets = {code.split()[1] for code in CODE if code.startswith("make ")}
    assert targets and all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_each_command_is_one_and_takes_its_options(words: list[str]) -> None:
    arguments = words[1:]
    if arguments == ["--help"]:
        return
    command: App = app
    while arguments and arguments[0] in command:
        command = command[arguments.pop(0)]
    assert command is not app, f"there is no command {arguments[0]}"
    assert command.default_command is not None
    for flag in [word for word in arguments if word.startswith("-")]:
        assert flag in {name for argument in command.assemble_argument_collection() for name in argument.names}


def test_every_extra_is_named() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()
    assert set(re.findall(r"'hubbub\[(\w+)\]'", README)) == extras - OF_DEVELOPMENT


def test_memory_under_tls_is_named_where_memory_is() -> None:
    for paragraph in README.split("\n\n"):
        assert "KiB" not in paragraph or "TLS" in paragraph, paragraph
