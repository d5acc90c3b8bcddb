"""A server answers its routes as its own OpenAPI document says, whatever it is asked."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode

from hubbub.http.operations import OPERATIONS
from servers import ServerProcess, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 5
# Each wrong password makes the next one wait.
GUESSES = 2

EVERYTHING = "publish,history,presence,rooms,disconnect,info"

AnyCase = schemathesis.Case[Any]

# With it, a session would be over that the others need, or the answer would not end.
WITHOUT_SESSION = ("log_out", "hear_room")
TRIES_PASSWORDS = ("log_in", "change_password")

# What fits its description; and for what has something that may be wrong, what does not.
ASKED = [
    (each.id, mode)
    for mode in GenerationMode
    for each in OPERATIONS
    if each.of != "check"
    if mode is GenerationMode.POSITIVE or each.body is not None
]


class Described(NamedTuple):
    """A server that tells what it takes and says, and what opens it."""

    origin: str
    document: Any
    headers: dict[str, str]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    """A server with a user who has logged in, and a key."""
    folder = tmp_path_factory.mktemp("described")
    engine = ("--engine", f"sqlite:///{folder / 'hub.db'}")
    command = [sys.executable, "-m", "hubbub", "key", "add", "test", "--may", EVERYTHING, *engine]
    key = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    with running(folder, *engine, "--schema", "--metrics", "all") as server:
        status, body = server.get("/schema/openapi.json")
        assert status == 200
        headers = {"Authorization": f"Bearer {server.login()['token']}", "X-API-Key": key}
        yield Described(server.origin, schemathesis.openapi.from_dict(json.loads(body)), headers)


@pytest.mark.parametrize(("id_", "mode"), ASKED)
def test_a_route_answers_as_it_is_described(id_: str, mode: GenerationMode, described: Described) -> None:
    headers = {} if id_ in WITHOUT_SESSION else described.headers
    examples = GUESSES if id_ in TRIES_PASSWORDS and mode is GenerationMode.POSITIVE else EXAMPLES
    cases = described.document.find_operation_by_id(id_).as_strategy(generation_mode=mode)

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: AnyCase) -> None:
        response = case.call(base_url=described.origin, headers=headers)
        case.validate_response(response, checks=CHECKS)

    ask()


def test_a_server_tells_what_it_takes_and_says_where_it_is_asked_to(
    described: Described, server: ServerProcess
) -> None:
    with urllib.request.urlopen(f"{described.origin}/schema") as answer:
        assert json.loads(answer.read())["asyncapi"] == "3.0.0"
    assert server.get("/schema")[0] == 404
