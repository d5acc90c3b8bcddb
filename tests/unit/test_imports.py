"""What an import loads, and that the package's public names are where it says."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import subprocess
import sys

import pytest

import hubbub

# Type checkers see the names themselves, and not the table.
SOURCES: dict[str, str] = vars(hubbub)["SOURCES"]
NAMES: list[str] = vars(hubbub)["__all__"]

# What only a server, the command line, or the terminal client has a use for.
OF_SERVER = {
    "hubbub.hub",
    "hubbub.server",
    "hubbub.service",
    "hubbub.settings",
    "structlog",
    "uvloop",
    "picows",
    "argon2",
    "cryptography",
}
OF_COMMAND_LINE = {"hubbub.cli", "cyclopts", "rich", "textual"}
OF_CLIENT = {"hubbub.sdk", "websockets"}


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement, and not before."""
    program = f"import sys; before = set(sys.modules); {statement}; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_package_alone_loads_nothing() -> None:
    assert loaded_by("import hubbub") == {"hubbub"}


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import hubbub.sdk", OF_SERVER | OF_COMMAND_LINE | {"httptools"}),
        ("from hubbub import connect", OF_SERVER | OF_COMMAND_LINE | {"httptools"}),
        ("from hubbub import Event, Refused", OF_SERVER | OF_COMMAND_LINE | OF_CLIENT | {"asyncio"}),
        # structlog takes Rich along where it is installed.
        (
            "from hubbub import Hub",
            (OF_COMMAND_LINE - {"rich"}) | OF_CLIENT | {"hubbub.server", "argon2", "cryptography"},
        ),
        ("import hubbub.server", (OF_COMMAND_LINE - {"rich"}) | OF_CLIENT | {"hubbub.door"}),
        ("import hubbub.mount.mounted, hubbub.uvicorn", {"hubbub.door"}),
        ("import hubbub.settings", {"cyclopts", "asyncio", "msgspec"}),
        ("import hubbub.cli", OF_CLIENT | {"textual", "hubbub.server"}),
    ],
)
def test_an_import_loads_no_more_than_it_needs(statement: str, forbidden: set[str]) -> None:
    loaded = loaded_by(statement)
    assert any(name.startswith("hubbub.") for name in loaded)
    assert not forbidden & loaded


def test_every_public_name_can_be_fetched_and_is_listed() -> None:
    assert sorted(NAMES) == sorted(SOURCES)
    for name, source in SOURCES.items():
        assert getattr(hubbub, name) is getattr(sys.modules[source], name)
    assert set(NAMES) <= set(dir(hubbub))
    for name in dir(hubbub):
        getattr(hubbub, name)
    everything: dict[str, object] = {}
    exec("from hubbub import *", everything)
    assert set(NAMES) == everything.keys() - {"__builtins__"}


def test_what_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'hubbub' has no attribute 'nothing'"):
        getattr(hubbub, "nothing")  # noqa: B009  # mypy knows better


def test_type_checkers_are_told_the_same_as_the_program() -> None:
    told: dict[str, str | None] = {}
    for statement in ast.walk(ast.parse(inspect.getsource(hubbub))):
        if isinstance(statement, ast.ImportFrom) and statement.module != "importlib":
            assert [(alias.asname, alias.name) for alias in statement.names] == [
                (alias.name, alias.name) for alias in statement.names
            ]
            told |= {alias.name: statement.module for alias in statement.names}
    assert told == SOURCES


def test_no_public_name_is_that_of_a_module() -> None:
    # Importing hubbub.NAME would put the module in the name's place.
    modules = {module.name for module in pkgutil.iter_modules(hubbub.__path__)}
    assert not modules & set(NAMES)
