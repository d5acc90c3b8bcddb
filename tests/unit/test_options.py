"""The command line's options: each setting once, with its group, its help, and its default."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import cyclopts
import pytest
from cyclopts import Parameter

from hubbub.cli import app
from hubbub.cli.options import GROUPS, Options, attribute_docs
from hubbub.settings import Settings

FIELDS = {each.name: each for each in dataclasses.fields(Settings)}


def parameter_of(name: str) -> Parameter:
    hint = get_type_hints(Options, include_extras=True)[name]
    assert get_origin(hint) is Annotated
    parameter = get_args(hint)[-1]
    assert isinstance(parameter, Parameter)
    return parameter


def read(*arguments: str) -> Settings:
    """The settings that a command line gives, with no environment and no file."""
    found: list[Settings] = []
    own = cyclopts.App()

    @own.default
    def take(*, settings: Options = Options()) -> None:  # noqa: B008  # frozen
        found.append(settings)

    own(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    return found[0]


def test_every_setting_is_in_one_group_and_no_group_has_another() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(FIELDS)


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_has_its_help_and_its_default(name: str) -> None:
    text = attribute_docs(Settings)[name]
    assert text.endswith(".")
    assert parameter_of(name).help == text
    assert getattr(Options(), name) == getattr(Settings(), name)


def test_the_help_shows_all_of_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    app(["serve", "--help"], exit_on_error=False, result_action="return_value")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for group, names in GROUPS.items():
        assert f"─ {group.name} ─" in shown
        for name in names:
            flag = f"--{name.replace('_', '-')}"
            assert f" {flag} " in shown
            assert f"[env var: HUBBUB_{name.upper()}]" in shown
            assert " ".join(attribute_docs(Settings)[name].split()) in shown
    assert "--no-demo" not in shown
    assert "--empty-allow-origin" not in shown


def test_options_are_settings() -> None:
    settings = read("--port", "0", "--demo", "--max-clients", "5", "--allow-origin", "a", "--allow-origin", "b")
    assert isinstance(settings, Settings)
    assert settings == Options(port=0, demo=True, max_clients=5, allow_origin=("a", "b"))
    assert settings.engine_url.endswith("demo.db")


@pytest.mark.parametrize("flag", ["--port", "--max-clients", "--keep-messages"])
@pytest.mark.parametrize("value", ["1.5", "many", ""])
def test_a_whole_number_is_one(flag: str, value: str) -> None:
    with pytest.raises(cyclopts.CoercionError):
        read(flag, value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[centrifugo]", {}),
        ("[centrifugo.http_api]\nkey = 'k'", {"http_api": {"key": "k"}}),
        ("centrifugo = 'f.json'", Path("f.json")),
    ],
)
def test_a_file_or_a_table_of_hubbub_toml_is_taken(
    text: str, meant: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hubbub.toml").write_text(text)
    monkeypatch.chdir(tmp_path)

    def taken(*arguments: str) -> object:
        _command, bound, _ignored = app.parse_args(["serve", *arguments], exit_on_error=False, print_error=False)
        return bound.arguments["settings"].centrifugo

    assert taken() == meant
    assert taken("--centrifugo", "other.json") == Path("other.json")


def test_a_text_below_nothing_is_no_help() -> None:
    class Example:
        """Not an attribute's."""

        first: int = 1
        """Of the
        first."""
        second: int = 2
        third: int = 3
        """Of the third."""

    assert attribute_docs(Example) == {"first": "Of the\nfirst.", "third": "Of the third."}
