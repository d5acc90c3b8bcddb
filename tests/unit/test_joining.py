"""Modules joined to one: what it does is what they did, and what may be otherwise is not joined."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hubbub.http.joining import joined

APP = """\
import { one, two as second } from "./numbers.js";
import * as words from '../words.js';
import {
  three,
} from "./more.js";
import "./effect.js";

const name = "app";
class Own {
  say() { return [name, one(), second, three, words.hello, words.Speaker.name, globalThis.effect].join(" "); }
}
await null;
console.log(new Own().say());
"""
MODULES = {
    "/web/app.js": APP,
    "/web/numbers.js": "const name = 1;\nexport function one() { return name; }\nexport const two = 2;\n",
    "/web/more.js": 'export { three };\nimport { two } from "./numbers.js";\nconst three = two + 1;\n',
    "/web/effect.js": 'globalThis.effect = "done";\n',
    "/words.js": 'export const hello = "hello";\nexport { Speaker } from "./deep/speaker.js";\n',
    "/deep/speaker.js": "export class Speaker {}\nexport async function wait() { await null; }\n",
}


def test_it_does_what_the_modules_did(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node to run it with; the browser tests run the page's own")
    for path, code in MODULES.items():
        file = tmp_path / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    whole = joined("/web/app.js", MODULES)
    assert whole is not None
    (tmp_path / "whole.mjs").write_text(whole)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    told = [
        subprocess.run([node, tmp_path / name], capture_output=True, text=True, check=True).stdout
        for name in ("web/app.js", "whole.mjs")
    ]
    assert told == ["app 1 2 3 hello Speaker done\n"] * 2


def test_each_module_is_there_once_behind_what_it_needs() -> None:
    whole = joined("/web/app.js", MODULES)
    assert whole is not None
    assert [line[3:] for line in whole.splitlines() if line.startswith("// /")] == [
        *("/web/numbers.js", "/deep/speaker.js", "/words.js", "/web/more.js", "/web/effect.js", "/web/app.js")
    ]


@pytest.mark.parametrize(
    "code",
    [
        "export default 1;",
        "export let three = 3;",
        "export var three = 3;",
        "let three = 3;\nexport { three };",
        "export const { three } = {};",
        'export * from "./numbers.js";',
        'import numbers from "./numbers.js";',
        'import { default as numbers } from "./numbers.js";',
        'import { two } from "a-package";',
        'import { gone } from "./gone.js";',
        'import { name } from "./app.js";',
        "const three = await 3;",
        "await 3;",
        'function late() {\n  return import("./numbers.js");\n}',
        "const here = import.meta.url;",
    ],
)
def test_what_may_mean_something_else_is_not_joined(code: str) -> None:
    assert joined("/web/app.js", MODULES | {"/web/more.js": f"{code}\n"}) is None


def test_many_ways_to_one_module_are_no_work() -> None:
    modules = {f"/{number}.js": f'import "./{number + 1}.js";\nimport "./{number + 2}.js";\n' for number in range(200)}
    modules |= {"/200.js": "", "/201.js": ""}
    whole = joined("/0.js", modules)
    assert whole is not None
    assert whole.count("// /") == 202
