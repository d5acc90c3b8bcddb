"""The wheel: what is in it, and whether it works in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest

from servers import running

ROOT = Path(__file__).parent.parent.parent
WEB = ROOT / "src" / "hubbub" / "web"

# A PYTHONPATH of the tests' would bring the source tree back in.
CLEAN = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel and what it depends on."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, env=CLEAN)
    pip("--python", environment / "bin" / "python", "install", wheel)
    return environment / "bin"


def pip(*what: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *what]
    subprocess.run(command, check=True, env=CLEAN)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    source = {f"hubbub/{path.relative_to(ROOT / 'src' / 'hubbub')}" for path in sources()}
    assert {"hubbub/py.typed", "hubbub/web/index.html", "hubbub/web/client/hubbub.js"} <= source
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == source
    assert any(name.endswith("/licenses/LICENSE") for name in metadata)


def sources() -> list[Path]:
    # The JavaScript client is behind a link, which rglob does not follow.
    folders = os.walk(ROOT / "src" / "hubbub", followlinks=True)
    found = (Path(folder) / name for folder, _, names in folders for name in names)
    return [path for path in found if "__pycache__" not in path.parts]


def test_the_command_tells_the_version(installed: Path) -> None:
    told = subprocess.run([installed / "hubbub", "--version"], capture_output=True, text=True, check=True, env=CLEAN)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told.stdout.strip() == project["version"]


def test_the_server_starts_in_an_empty_folder_and_stops(installed: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    program = [str(installed / "hubbub"), "serve"]
    with running(tmp_path, program=program, cwd=empty, tls=True, env={"PYTHONPATH": ""}) as server:
        ca = re.search("trust its CA: (.+)", server.log())
        assert ca is not None
        context = ssl.create_default_context(cafile=ca[1])
        url = f"https://localhost:{server.port}"
        assert get(f"{url}/healthz", context) == b"ok"
        page = get(f"{url}/", context).decode()
        assert "<title>Hubbub</title>" in page
        assert '<script type="module" src="v/' in page
        assert b"class Hubbub" in get(f"{url}/hubbub.js", context)
        assert get(f"{url}/web/app.js", context) == (WEB / "app.js").read_bytes()
        assert server.stop() == 0
    assert list(empty.iterdir()) == []


def get(url: str, context: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(url, timeout=5, context=context) as response:
        body: bytes = response.read()
    return body
