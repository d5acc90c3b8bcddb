"""Each route is described for machines, and nothing is described that is no route."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from hubbub import Hub
from hubbub.http.api import ApiRoutes
from hubbub.http.operation import Operation
from hubbub.http.operations import OPERATIONS
from hubbub.http.site import read_site
from hubbub.testing import Stage
from unit.test_app import office

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
