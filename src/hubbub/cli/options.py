"""The command line's options, made from the settings: their groups, how each is read, and what else gives them."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_type_hints

from cyclopts import App, ArgumentCollection, CoercionError, Group, Parameter, Token
from cyclopts.config import Env

from hubbub.configuration import PREFIX, given
from hubbub.settings import Settings, Table

__all__ = ["GROUPS", "Options", "Sources"]

GROUPS = {
    Group("Serving", sort_key=1): (
        *("host", "name", "port", "engine", "workers", "data_dir", "demo"),
        *("allow_origin", "allow_host", "trusted_proxy", "proxy_protocol", "compression"),
        *("debug_public", "metrics", "telemetry", "schema", "log_format", "log_level"),
    ),
    Group("TLS", sort_key=2): ("no_tls", "tls_cert", "tls_key"),
    Group("Limits (0 means none)", sort_key=3): (
        *("keep_messages", "keep_seconds", "max_frame", "max_message", "max_room_name", "max_user_name"),
        *("max_rooms", "max_outbox", "max_clients", "max_clients_per_address", "max_otps", "max_otps_per_account"),
        *("max_sessions_per_account", "max_keys_per_account", "daily_bytes", "daily_rooms"),
        *("client_rate", "client_burst", "max_pending", "max_pending_per_address"),
        *("account_share", "address_share", "replay_rate", "replay_burst", "limits"),
    ),
    Group("Who may do what", sort_key=5): ("permissions", "private_rooms", "audit_log"),
    Group("Centrifugo's protocol", sort_key=7): ("centrifugo",),
    Group("Signing in", sort_key=6): (*("jwt_key", "jwt_audience", "jwt_issuer", "jwt_role_claim", "jwt_info_claim"),),
    Group("Times, in seconds", sort_key=4): (
        *("otp_ttl", "session_ttl", "heartbeat_interval", "heartbeat_timeout", "request_timeout", "drain_delay"),
    ),
}


def whole(_type: object, tokens: Sequence[Token]) -> int:
    """Read a whole number; `int` alone would take 1.5 for 1."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise CoercionError(target_type=int, token=tokens[0]) from None


Whole = Annotated[int, Parameter(converter=whole)]


def file_or_table(_type: object, tokens: Sequence[Token]) -> Path | Table:
    """Read what names a file, or is a table of hubbub.toml: the library would refuse an empty one."""
    value = tokens[0].implicit_value
    return value if isinstance(value, dict) else Path(value if isinstance(value, str | Path) else tokens[0].value)


FileOrTable = Annotated[Path, Parameter(converter=file_or_table)]

# How settings of a type are read where the command line's library would do otherwise.
READ: dict[object, object] = {int: Whole, int | None: Whole | None, Path | Table | None: FileOrTable | None}

# Settings of these types have no `--no-` or `--empty-` form.
ONE_WAY = (bool, tuple[str, ...])


def attribute_docs(class_: type) -> dict[str, str]:
    """The text below each attribute of a class, which Python itself does not keep."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(class_))).body
    assert isinstance(definition, ast.ClassDef)
    docs = {}
    for attribute, below in zip(definition.body, definition.body[1:], strict=False):
        match attribute, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                docs[name] = inspect.cleandoc(text)
    return docs


def new_options() -> type[Settings]:
    """The settings once more, with what the command line has to know of each."""
    group_of = {name: group for group, names in GROUPS.items() for name in names}
    types = get_type_hints(Settings)
    docs = attribute_docs(Settings)
    fields = []
    for each in dataclasses.fields(Settings):
        type_ = types[each.name]
        negative = () if type_ in ONE_WAY else None
        parameter = Parameter(group=group_of[each.name], help=docs[each.name], negative=negative, show_env_var=True)
        default = dataclasses.field(default=each.default, default_factory=each.default_factory)
        fields.append((each.name, Annotated[READ.get(type_, type_), parameter], default))
    namespace = {"__module__": __name__}
    made = dataclasses.make_dataclass(
        "Options", fields, bases=(Settings,), namespace=namespace, frozen=True, kw_only=True
    )
    return Parameter(name="*")(made)


if TYPE_CHECKING:
    Options = Settings
else:
    Options = new_options()


class Sources(Env):
    """What the environment and hubbub.toml give, where no flag does.

    As an `Env` it has the names of variables shown in the help; what it reads is the settings, and which hub to serve.
    """

    def __init__(self) -> None:
        super().__init__(PREFIX, command=False)

    def __call__(self, _app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        found: dict[str, object] = {f"--{name.replace('_', '-')}": value for name, value in given().items()}
        if (hub := os.environ.get("HUBBUB_HUB")) is not None:
            found["HUB"] = hub
        for argument in arguments:
            if argument.name in found and not argument.has_tokens:
                argument.append(Token(source="env", implicit_value=found[argument.name]))
