"""What keeps the module of a hub from being loaded is shown by its own lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub import Hub
from hubbub.cli.loading import load_hub
from hubbub.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def told_of(folder: Path, text: str, **others: str) -> list[str]:
    """What is told of a module: the lines after the first."""
    for name, other in others.items():
        (folder / f"{name}.py").write_text(other)
    (folder / "theirs.py").write_text(text)
    with pytest.raises(SystemExit) as ended:
        load_hub("theirs:hub")
    first, *lines = str(ended.value).splitlines()
    assert first == "hubbub: theirs:hub cannot be loaded"
    assert not [line for line in lines if "/hubbub/" in line or "importlib" in line]
    return lines


def test_a_mistake_of_syntax_is_shown_where_it_is(folder: Path) -> None:
    assert told_of(folder, "hub = 1\ndef f(:\n    pass\n") == [
        f'  File "{folder}/theirs.py", line 2',
        "    def f(:",
        "          ^",
        "SyntaxError: invalid syntax",
    ]


def test_a_module_that_is_missing_inside_is_named_with_the_line_that_wants_it(folder: Path) -> None:
    lines = told_of(folder, "import helpers\n", helpers="\nimport no_such_library\n")
    assert lines[1:] == [
        f'  File "{folder}/theirs.py", line 1, in <module>',
        "    import helpers",
        f'  File "{folder}/helpers.py", line 2, in <module>',
        "    import no_such_library",
        "ModuleNotFoundError: No module named 'no_such_library'",
    ]


def test_what_is_registered_wrongly_is_shown_where_it_is_and_not_where_it_is_refused(folder: Path) -> None:
    lines = told_of(folder, "from hubbub import Hub\nhub = Hub()\n@hub.on_join\ndef hello(client): ...\n")
    assert lines[1] == f'  File "{folder}/theirs.py", line 3, in <module>'
    assert lines[-1].startswith("TypeError: on_join hello takes (client); it is called with (room_name, client)")


def test_a_program_that_serves_itself_as_it_is_loaded_is_told_where_to_do_so(folder: Path) -> None:
    lines = told_of(folder, "import hubbub\nhub = hubbub.Hub()\nhubbub.run(hub)\n")
    assert lines[1] == f'  File "{folder}/theirs.py", line 3, in <module>'
    assert lines[-1].endswith('put hubbub.run(hub) below `if __name__ == "__main__":`')
    (folder / "guarded.py").write_text(
        'import hubbub\nhub = hubbub.Hub()\nif __name__ == "__main__":\n    hubbub.run(hub)\n'
    )
    assert isinstance(load_hub("guarded:hub"), Hub)


def test_an_error_that_comes_of_another_is_shown_with_it(folder: Path) -> None:
    lines = told_of(folder, "try:\n    {}['a']\nexcept KeyError as error:\n    raise RuntimeError('why') from error\n")
    assert [line for line in lines if "Error: " in line] == ["KeyError: 'a'", "RuntimeError: why"]
    assert f'  File "{folder}/theirs.py", line 4, in <module>' in lines


def test_a_group_of_errors_is_shown(folder: Path) -> None:
    assert told_of(folder, "raise ExceptionGroup('some', [ValueError('one')])\n")[-1].endswith("-----")


def test_what_is_no_hub_is_one_line(folder: Path) -> None:
    (folder / "theirs.py").write_text("from hubbub import Hub\nchat = Hub()\nother = 1\n")
    assert isinstance(load_hub("theirs:chat"), Hub)
    with pytest.raises(ConfigError, match="'other' in theirs is no hub; it has chat"):
        load_hub("theirs:other")
    with pytest.raises(ConfigError, match="there is no module 'nobody' here"):
        load_hub("nobody:hub")
    with pytest.raises(ConfigError, match=r"there is no module 'nobody\.below' here"):
        load_hub("nobody.below:hub")
