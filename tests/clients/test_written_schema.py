"""What `hubbub schema` writes is good for what reads it: AsyncAPI's own parser, OpenAPI's validator, tsc and mypy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api as mypy
from openapi_spec_validator import validate

from clients.node import library, node_command, tool
from clients.strings import ROOT

EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "schema.md"
CLIENT = ROOT / "clients" / "js" / "src" / "hubbub.js"

OPTIONS = {
    "strict": True,
    "noEmit": True,
    "allowJs": True,
    "target": "es2022",
    "module": "es2022",
    "moduleResolution": "bundler",
    "lib": ["es2023", "dom"],
    "types": [],
}

PARSE = """
import { Parser } from "@asyncapi/parser";
import { readFileSync } from "node:fs";
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const { code, message, path } of diagnostics) {
  // 3.0 is what most tools read.
  if (code !== "asyncapi-latest-version") console.log(code, message, path.join("."));
}
if (!document) console.log("it is none");
"""

VOTES_TS = """
import { Hubbub } from "hubbub-chat";
import type { TypedHubbub } from "./events";
const chat: TypedHubbub = new Hubbub("https://chat.example");
const poll: string = (await chat.request("vote", { poll: "lunch", option: 1 })).poll;
const recovered: boolean = (await chat.request("join_room", { room: "lunch" })).recovered;
await chat.request("presence");
chat.on("message", (message) => {
  if (message.type === "tally") { const counts: Record<string, number> = message.payload.counts; void counts; }
  else { const text: string = message.text; void text; }
});
chat.on("signal", ({ payload }) => { const of: string = payload.poll; void of; });
chat.on("state", ({ state }) => { const s: "offline" | "connecting" | "online" | "closed" = state; void s; });
// @ts-expect-error an option is a number
await chat.request("vote", { poll: "lunch", option: "one" });
// @ts-expect-error the payload is missing
await chat.request("vote");
// @ts-expect-error there is no such event
await chat.request("veto", {});
export { poll, recovered };
"""

VOTES_PY = """
import hubbub
from events import Tally, Vote, send_vote

async def vote() -> Tally:
    async with hubbub.connect("https://chat.example", "percy", "123") as chat:
        await chat.join("lunch")
        tally = await send_vote(chat, Vote("lunch", option=1))
        await send_vote(chat, Vote("lunch", option="one"))  # type: ignore[arg-type]  # an unused one is an error
        async for message in chat:
            tally = message.read_as(Tally)
        counts: dict[int, int] = tally.counts
        print(counts)
        return tally
"""


COMMAND = re.compile(r"^    (hubbub schema.*)$", re.MULTILINE)
FENCE = re.compile(r"^```ts\n(.*?)^```", re.MULTILINE | re.DOTALL)


def write(format_: str, file: Path, *hub: str) -> Path:
    """What `hubbub schema` writes to a file about a hub of the examples, or about the chat."""
    command = [sys.executable, "-m", "hubbub", "schema", *hub, "--format", format_, "--output", str(file)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    told = subprocess.run(command, cwd=EXAMPLES, env=env, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    return file


def test_asyncapis_own_parser_reads_the_events(tmp_path: Path) -> None:
    file = write("asyncapi", tmp_path / "votes.json", "votes:hub")
    (tmp_path / "parse.mjs").write_text(PARSE)
    (tmp_path / "node_modules").symlink_to(library("asyncapi") / "node_modules")
    told = subprocess.run([*node_command(), tmp_path / "parse.mjs", file], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_openapis_validator_reads_the_routes(tmp_path: Path) -> None:
    validate(json.loads(write("openapi", tmp_path / "chat.json").read_text()))


def test_the_types_help_a_program_in_typescript(tmp_path: Path) -> None:
    write("typescript", tmp_path / "events.ts", "votes:hub")
    (tmp_path / "app.ts").write_text(VOTES_TS)
    [example] = FENCE.findall(PAGE.read_text())
    (tmp_path / "example.ts").write_text(example)
    options = OPTIONS | {"paths": {"hubbub-chat": [str(CLIENT)]}}
    (tmp_path / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["app.ts", "example.ts"]}))
    told = subprocess.run([tool("tsc"), "-p", tmp_path], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_the_module_helps_a_program_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("python", tmp_path / "events.py", "votes:hub")
    (tmp_path / "app.py").write_text(VOTES_PY)
    monkeypatch.setenv("MYPYPATH", f"{tmp_path}:{ROOT / 'src'}")
    app = str(tmp_path / "app.py")
    told, trouble, _ = mypy.run(["--strict", "--config-file", "", "--cache-dir", str(tmp_path), app])
    assert told.startswith("Success"), told + trouble


def test_the_commands_of_the_page_write_what_they_say(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "votes.py", tmp_path)
    for command in COMMAND.findall(PAGE.read_text()):
        run = [sys.executable, "-m", *command.split()]
        told = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert bool(told) == ("--output" not in command)
    written = {file.name for file in tmp_path.iterdir() if file.is_file()}
    assert written == {"votes.py", "votes.json", "events.ts", "votes_events.py"}


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    for arguments, expected in (
        (["--output", str(tmp_path / "no" / "where")], "No such file or directory"),
        (["nothing:hub"], "there is no module 'nothing'"),
    ):
        command = [sys.executable, "-m", "hubbub", "schema", *arguments]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert told.returncode == 2
        assert expected in told.stderr
        assert len(told.stderr.splitlines()) == 1
