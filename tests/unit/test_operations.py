"""Each route is described for machines, and nothing is described that is no route."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import pytest

from hubbub import Hub, Role
from hubbub.http.api import ApiRoutes
from hubbub.http.operation import Operation
from hubbub.http.operations import OPERATIONS
from hubbub.http.site import read_site
from hubbub.schema.openapi import openapi
from hubbub.testing import Stage
from unit.test_api import desk
from unit.test_app import json_of, office

pytestmark = pytest.mark.anyio

PARAMETER = re.compile(r"{\w+}")
# Paths below which a route answers for many; each is described by itself.
SHARED = "/api/"


def described(of: str) -> set[tuple[str, str]]:
    """What the table has of a kind of hubs: a path, as routes have it, and a method."""
    return {(route_of(each), each.method) for each in OPERATIONS if each.of in ("", of)}


def route_of(operation: Operation) -> str:
    """The path of an operation's route."""
    path = f"{SHARED}*" if operation.path.startswith(SHARED) else operation.path
    return PARAMETER.sub("*", path)


def checking() -> Hub:
    """A hub whose application checks who signs in."""
    hub = Hub()
    hub.authenticate(lambda credentials: None)
    return hub


@pytest.mark.parametrize(("hub", "of"), [(Hub(), "accounts"), (checking(), "check")])
async def test_each_route_is_described_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch, hub: Hub, of: str) -> None:
    async with office(monkeypatch, hub=hub, metrics="all") as here:
        routes = {(path, method) for path, methods in here.routes.items() for method in methods}
    pages = {(each.path, each.method) for each in OPERATIONS if each.path in read_site().pages}
    assert pages
    assert described(of) - routes == pages
    assert not routes - described(of)


async def test_each_method_of_other_programs_is_described(stage: Stage) -> None:
    names = {each.path.removeprefix(SHARED) for each in OPERATIONS if each.path.startswith(SHARED)}
    assert names == {"batch", *ApiRoutes(stage.core).methods}


def test_operations_have_names_of_their_own() -> None:
    for of in ("accounts", "check"):
        names = [each.id for each in OPERATIONS if each.of in ("", of)]
        assert sorted(names) == sorted(set(names))


def test_parameters_are_those_of_the_paths() -> None:
    for each in OPERATIONS:
        named: Mapping[str, str] = each.parameters
        assert [f"{{{name}}}" for name in named] == PARAMETER.findall(each.path)


# Answers


def judge(path: str, status: int = 200, method: str = "post") -> jsonschema_rs.Draft202012Validator:
    """What judges the answers of a route, each to have the fields that are described and no other."""
    document = openapi("a test")
    reply = document["paths"][path][method]["responses"][str(status)]
    closed = closing(document["components"]["schemas"])
    schema = {**reply["content"]["application/json"]["schema"], "components": {"schemas": closed}}
    return jsonschema_rs.Draft202012Validator(schema)


def closing(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The schemas, where objects have no fields but those that are listed."""
    return {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in schemas.items()
    }


async def test_what_other_programs_are_answered_is_as_it_is_described() -> None:
    async with desk() as here:
        percy = await here.stage.client("percy")
        await percy.join("lunch")
        await percy.ask("send_message", {"room": "lunch", "message": "hi"})
        asked: list[tuple[str, dict[str, Any]]] = [
            ("publish", {"channel": "lunch", "data": {"a": 1}, "tags": {"b": "c"}}),
            ("publish", {"channel": "lunch", "data": 1, "skip_history": True}),
            ("broadcast", {"channels": ["lunch", "tea"], "data": "hello"}),
            ("history", {"channel": "lunch", "limit": -1}),
            ("presence", {"channel": "lunch"}),
            ("presence_stats", {"channel": "lunch"}),
            ("channels", {}),
            ("rooms", {"pattern": "l*"}),
            ("info", {}),
            ("batch", {"commands": [{"info": {}}, {"publish": {"channel": "a", "data": 1}}]}),
            ("disconnect", {"user": "percy"}),
        ]
        for method, fields in asked:
            answer = await here.ask(method, fields)
            assert answer.keys() == {"replies" if method == "batch" else "result"}
            judge(f"/api/{method}").validate(answer)
        for method in ("refresh", "publish"):
            judge(f"/api/{method}").validate(await here.ask(method, {}))
        told = json.loads((await here.send("info")).body)
        judge("/api/info", 401).validate(told)


async def test_what_people_are_answered_is_as_it_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    async with office(monkeypatch) as here:
        await here.stage.account("percy", Role.ADMIN)
        opened = await here.log_in()
        judge("/login").validate(opened)
        bearer = {"authorization": f"Bearer {opened['token']}"}
        asked: list[tuple[str, str, dict[str, Any], int]] = [
            ("POST", "/otp", {}, 200),
            ("GET", "/setup", {}, 200),
            ("POST", "/invitations", {"note": "for bob"}, 200),
            ("GET", "/invitations", {}, 200),
            ("POST", "/signup/check", {"invitation": "none"}, 403),
            ("POST", "/password", {"current": 1}, 400),
        ]
        for method, path, body, status in asked:
            response = await here.ask(method, path, body, **bearer)
            judge(path, status, method.lower()).validate(json_of(response, status))
            if path == "/invitations" and method == "POST":
                invitation = {"invitation": json.loads(response.body)["link_token"]}
                good = await here.ask("POST", "/signup/check", invitation)
                judge("/signup/check").validate(json_of(good))
