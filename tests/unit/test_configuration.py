"""What the environment and hubbub.toml give, and what is refused in them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hubbub.configuration import OTHERS, PREFIX, given, settings_from
from hubbub.errors import ConfigError
from hubbub.rules import Rule
from hubbub.settings import Settings

ROOT = Path(__file__).parents[2]

RULE = {"rooms": ["news"], "roles": ["member"], "may": ["join", "read"]}
READ_RULE = Rule(rooms=("news",), roles=("member",), may=("join", "read"))

# A value of each type of setting: as the environment has it, as hubbub.toml has it, and as it is read.
VALUES: dict[str, tuple[str, str, Any]] = {
    "host": ("::", '"::"', "::"),
    "engine": ("memory://", '"memory://"', "memory://"),
    "port": ("9000", "9000", 9000),
    "max_clients": ("7", "7", 7),
    "client_rate": ("1.5", "1.5", 1.5),
    "drain_delay": ("2", "2", 2.0),
    "no_tls": ("1", "true", True),
    "demo": ("False", "false", False),
    "data_dir": ("/srv/data", '"/srv/data"', Path("/srv/data")),
    "audit_log": ("audit", '"audit"', Path("audit")),
    "centrifugo": ("c.json", '"c.json"', Path("c.json")),
    "log_level": ("debug", '"debug"', "debug"),
    "name": ("a.example b.example", '["a.example", "b.example"]', ("a.example", "b.example")),
    "permissions": (json.dumps([RULE]), '[{rooms = "news", roles = ["member"], may = ["join", "read"]}]', (READ_RULE,)),
}


def from_file(folder: Path, text: str) -> dict[str, Any]:
    file = folder / "hubbub.toml"
    file.write_text(text)
    return given({}, file)


def refusal(folder: Path, environ: dict[str, str] | None = None, text: str = "") -> str:
    """Why something is no configuration."""
    file = folder / "hubbub.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        given(environ or {}, file)
    told = str(refused.value)
    assert "\n" not in told
    return told


# Values


@pytest.mark.parametrize("name", VALUES)
def test_every_type_of_setting_is_read(tmp_path: Path, name: str) -> None:
    as_text, as_toml, value = VALUES[name]
    assert given({PREFIX + name.upper(): as_text}, tmp_path / "none") == {name: value}
    for key in (name, name.replace("_", "-")):
        assert from_file(tmp_path, f"{key} = {as_toml}") == {name: value}


def test_no_type_of_setting_is_left_out() -> None:
    types = {field.name: field.type for field in dataclasses.fields(Settings)}
    choices = {name for name, type_ in types.items() if "Literal" in str(type_)}
    tried = {types[name] for name in VALUES}
    assert {type_ for name, type_ in types.items() if name not in choices} <= tried
    assert choices & VALUES.keys()


def test_changes_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hubbub.toml"
    file.write_text("port = 1\nmax-frame = 1\nmax-rooms = 1\n")
    found = settings_from({"HUBBUB_PORT": "2", "HUBBUB_MAX_FRAME": "2"}, file, port=3)
    assert found == Settings(port=3, max_frame=2, max_rooms=1)
    assert settings_from({}, tmp_path / "none") == Settings()


def test_a_list_may_be_one_text_and_a_number_may_be_quoted(tmp_path: Path) -> None:
    assert from_file(tmp_path, 'allow-host = "*"\nport = "1"\ndemo = 0') == {
        "allow_host": ("*",),
        "port": 1,
        "demo": False,
    }


@pytest.mark.parametrize(
    ("variable", "text", "told"),
    [
        ("HUBBUB_PORT", "many", "HUBBUB_PORT: 'many' is not a whole number"),
        ("HUBBUB_PORT", "1.5", "HUBBUB_PORT: '1.5' is not a whole number"),
        ("HUBBUB_CLIENT_RATE", "", "HUBBUB_CLIENT_RATE: '' is not a number"),
        ("HUBBUB_DEMO", "maybe", "HUBBUB_DEMO: 'maybe' is not true or false"),
        ("HUBBUB_LIMITS", "x" * 99, f"HUBBUB_LIMITS: '{'x' * 40}...' is not one of enforce, count"),
        ("HUBBUB_PERMISSIONS", "[" * 9999, "HUBBUB_PERMISSIONS is not JSON; rules are best written in hubbub.toml"),
    ],
)
def test_a_value_in_the_environment_that_cannot_be_is_named(
    tmp_path: Path, variable: str, text: str, told: str
) -> None:
    assert refusal(tmp_path, {variable: text}) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port = true", "port: it is a whole number"),
        ("port = 1979-05-27", "port: it is a whole number"),
        ("client-rate = []", "client-rate: it is a number"),
        ("demo = 7.5", "demo: '7.5' is not true or false"),
        ("engine = 7", "engine: it is a text"),
        ("data-dir = 7", "data-dir: it is a text"),
        ('name = ["a", 1]', 'name: it is a list of texts, as in ["one", "two"]'),
        ("permissions = 1", "permissions: it is a list of rules, each of which begins with [[permissions]]"),
        ('[[permissions]]\nroom = "a"', "permissions, rule 1: 'room' is no part of a rule; did you mean rooms?"),
        ('[[permissions]]\nx = "a"', "permissions, rule 1: 'x' is no part of a rule; it has rooms, roles, users, may"),
        ("[[permissions]]\nmay = 1", "permissions, rule 1: may: it is a list of texts"),
    ],
)
def test_a_value_in_the_file_that_cannot_be_is_named(tmp_path: Path, text: str, told: str) -> None:
    assert refusal(tmp_path, text=text).startswith(f"hubbub.toml: {told}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path, text="port = ").startswith("hubbub.toml is not TOML: Invalid value (at ")
    (tmp_path / "hubbub.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"hubbub\.toml cannot be read: "):
        given({}, tmp_path / "hubbub.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        given({}, tmp_path)


# Names


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("HUBBUB_MAX_FRAMES", "did you mean HUBBUB_MAX_FRAME?"),
        ("HUBBUB_CLIENTRATE", "did you mean HUBBUB_CLIENT_RATE?"),
        ("HUBBUB_PASSWROD", "did you mean HUBBUB_PASSWORD?"),
        ("HUBBUB_max_frame", "did you mean HUBBUB_MAX_FRAME?"),
        ("HUBBUB_XYZZY", "`hubbub serve --help` lists them all"),
        ("HUBBUB_SERVICE_PORT", "in Kubernetes, `enableServiceLinks: false` leaves it out"),
        ("HUBBUB_PORT_8080_TCP_ADDR", "in Kubernetes, `enableServiceLinks: false` leaves it out"),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_with_the_nearest_one(
    tmp_path: Path, variable: str, told: str
) -> None:
    found = refusal(tmp_path, {"PATH": "/bin", variable: "1"})
    assert found.startswith(f"{variable} is no setting; ")
    assert found.endswith(told)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("max-frames", "did you mean max-frame?"),
        ("maxframe", "did you mean max-frame?"),
        ("Max_Frame", "did you mean max-frame?"),
        ("xyzzy", "`hubbub serve --help` lists them all"),
    ],
)
def test_a_key_that_is_no_setting_is_refused_with_the_nearest_one(tmp_path: Path, key: str, told: str) -> None:
    assert refusal(tmp_path, text=f"{key} = 1") == f"hubbub.toml: '{key}' is no setting; {told}"
    assert refusal(tmp_path, text="[serve]\nport = 1").startswith("hubbub.toml: 'serve' is no setting; ")
    with pytest.raises(TypeError, match=re.escape("'max_frames' is no setting; did you mean max_frame?")):
        settings_from({}, tmp_path / "none", max_frames=1)


def test_what_kubernetes_says_of_a_service_is_told_from_a_port(tmp_path: Path) -> None:
    told = refusal(tmp_path, {"HUBBUB_PORT": "tcp://10.0.0.1:8080"})
    assert told.startswith("HUBBUB_PORT: 'tcp://10.0.0.1:8080' is not a whole number; ")
    assert told.endswith("`enableServiceLinks: false` leaves it out")


def test_every_name_that_the_project_uses_is_known(tmp_path: Path) -> None:
    files = [file for folder in ("src", "tests", "deploy") for file in (ROOT / folder).rglob("*") if file.is_file()]
    files = [file for file in files if file.suffix not in (".pyc", ".png") and "configuration" not in file.name]
    # What a test sets may be wrong on purpose.
    named = re.compile(r"""(?:(?<!setenv\()["`{ ]|^)(HUBBUB_[A-Z_]*[A-Z])(?=["`=: }])""", re.MULTILINE)
    used = {name for file in [ROOT / "Makefile", *files] for name in named.findall(file.read_text(errors="ignore"))}
    settings = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    assert {"HUBBUB_CHAOS", "HUBBUB_PASSWORD", "HUBBUB_NO_TLS"} <= used
    missing = used - settings - OTHERS
    assert not missing, f"say in configuration.OTHERS what else goes by such a name: {', '.join(sorted(missing))}"
    assert not OTHERS - used, "nobody uses these"
    assert given(dict.fromkeys(OTHERS, "1"), tmp_path / "none") == {}
