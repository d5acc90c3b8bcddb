"""The built-in events: exported, explained, and handled by an application in place of the built-in handlers."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from hubbub import Act, Client, Hub, Posting, Refused, Room, builtin
from hubbub.handlers import Handler
from hubbub.testing import CLASSIC, at_work

pytestmark = pytest.mark.anyio

DOCS = Path(__file__).parents[2] / "docs"


async def built_in() -> dict[str, Handler]:
    """The handlers of a hub whose application has none, by what they take."""
    hub = Hub()
    async with at_work(hub):
        return dict(hub._handlers.by_type)


def row(tag: str, handler: Handler) -> str:
    """How an event stands in the table: its class, its type, its fields, and the act that is asked for."""
    event: Any = handler.decoder.type
    needed = len(event.__struct_fields__) - len(event.__struct_defaults__)
    fields = [f"`{name}{'?' * (place >= needed)}`" for place, name in enumerate(event.__struct_fields__)]
    act = "None" if handler.act is None else f"Act.{handler.act.name}"
    return f"| `{event.__name__}` | `{tag}` | {', '.join(fields)} | `{act}` |"


async def test_every_built_in_event_is_exported_and_explained() -> None:
    handlers = await built_in()
    events: set[Any] = {handler.decoder.type for handler in handlers.values()}
    others = {builtin.NewMessage, builtin.Since}  # what is said, and a part of a join
    assert {getattr(builtin, name) for name in builtin.__all__} == events | others
    table = re.findall(r"^\| `.*\|$", (DOCS / "builtin.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(row(tag, handler) for tag, handler in handlers.items())


async def test_the_example_of_the_page_replaces_a_handler() -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", (DOCS / "builtin.md").read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(example, names)
    async with at_work(names["hub"]) as stage:
        percy, alice = await stage.client("percy"), await stage.client("alice", CLASSIC)
        await percy.join("general")
        answer = await percy.ask("send_message", {"room": "general", "message": "  oh darn  ", "key": "one"})
        again = await percy.ask("send_message", {"room": "general", "message": "  oh darn  ", "key": "one"})
        assert answer["seq"] == again["seq"] == 1
        [heard] = [event for event in await alice.hear() if event["type"] == "new_message"]
        assert (heard["payload"]["message"], heard["payload"]["from"]) == ("oh d**n", "percy")
        with pytest.raises(Refused, match="say something"):
            await percy.ask("send_message", {"room": "general", "message": " "})


async def test_each_can_be_replaced() -> None:
    handlers = await built_in()
    hub = Hub()
    for handler in handlers.values():

        def replaced(request: Any) -> dict[str, str]:
            return {"by": type(request).__name__}

        replaced.__annotations__["request"] = handler.decoder.type
        hub.on(act=None)(replaced)
    async with at_work(hub) as stage:
        percy = await stage.client("percy")
        assert await percy.ask("history", {}) == {"by": "History"}
        assert await percy.ask("admin_users", {}) == {"by": "ShowUsers"}
        for tag, handler in handlers.items():
            own = hub._handlers.by_type[tag]
            assert (own.decoder.type, own.act) == (handler.decoder.type, None)


# What an application sees


@pytest.mark.parametrize(("of", "name"), [(Hub, "hub"), (Room, "room"), (Client, "client"), (Posting, "posting")])
def test_what_an_application_sees_is_what_the_page_explains(of: type, name: str) -> None:
    code = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", (DOCS / "hub.md").read_text(), re.MULTILINE | re.DOTALL))
    explained = set(re.findall(rf"\b{name}\.(\w+)", code))
    public = {each for each in dir(of) if not each.startswith("_")}
    if of is Posting:  # what keeps it uses the rest
        assert explained <= public
        return
    assert public == explained, f"docs/hub.md explains {sorted(explained)}, and {of.__name__} has {sorted(public)}"
    if of is Hub:
        assert {each for each in vars(Hub()) if not each.startswith("_")} == set()
        assert all(inspect.getdoc(getattr(Hub, each)) for each in public)


def test_acts_are_explained() -> None:
    page = (DOCS / "hub.md").read_text()
    assert all(f"`{act.name}`" in page for act in Act)
