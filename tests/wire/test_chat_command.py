"""`hubbub chat` as a command: what is wrong is one line, and a screen comes up on a real server."""

from __future__ import annotations

import os
import pty
import re
import select
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hubbub.cli.chat import trust
from hubbub.errors import ConfigError
from servers import ServerProcess

CHAT = [sys.executable, "-m", "hubbub", "chat"]
RUN_S = 30.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    return clean | {"XDG_DATA_HOME": str(folder), "HUBBUB_PASSWORD": "123", "TERM": "xterm-256color"} | more


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [*CHAT, "--user", "percy", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=RUN_S, check=False
    )


def assert_explained(result: subprocess.CompletedProcess[str], *what: str) -> None:
    assert (result.returncode, result.stdout) == (2, ""), result
    assert result.stderr.count("\n") == 1, result.stderr
    for word in what:
        assert word in result.stderr


def test_what_is_wrong_is_one_line(server: ServerProcess, tls_server: ServerProcess, tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text("port = 9000\n")  # the server's, and no business of its clients
    assert_explained(run(tmp_path, server.origin, HUBBUB_PASSWORD="wrong"), "wrong name or password")
    assert_explained(run(tmp_path, tls_server.origin), "certificate")
    assert_explained(run(tmp_path, "localhost:8080"), "https://host:port")
    assert_explained(run(tmp_path, server.origin, "--insecure"), "plain HTTP")
    assert_explained(run(tmp_path, tls_server.origin, "--ca-file", "no.pem"), "no.pem")
    assert_explained(run(tmp_path, tls_server.origin, "--ca-file", "hubbub.toml"), "hubbub.toml")
    assert_explained(run(tmp_path, tls_server.origin, "--colour"), "--colour")


def test_without_textual_it_says_what_to_install(server: ServerProcess, tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['textual'] = None; import hubbub.cli as cli; cli.main()"
    command = [sys.executable, "-c", hidden, "chat", server.origin]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert_explained(result, "pip install 'hubbub[chat]'")


def test_this_machines_own_authority_is_trusted_beside_the_others(
    tls_server: ServerProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "hubbub").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    known = trust(tls_server.origin, None, insecure=False)
    (tmp_path / "hubbub" / "ca.pem").write_bytes((tls_server.log_file.parent / "data" / "ca.pem").read_bytes())
    context = trust(tls_server.origin, None, insecure=False)
    assert known is not None
    assert context is not None
    assert len(context.get_ca_certs()) == len(known.get_ca_certs()) + 1
    unchecked = trust(tls_server.origin, None, insecure=True)
    assert unchecked is not None
    assert unchecked.verify_mode == ssl.CERT_NONE
    with pytest.raises(ConfigError, match="not both"):
        trust(tls_server.origin, tmp_path, insecure=True)


def test_a_screen_comes_up_says_something_and_goes(server: ServerProcess, tmp_path: Path) -> None:
    terminal, inside = pty.openpty()
    command = [*CHAT, server.origin, "--user", "percy", "--room", "terminal"]
    chat = subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stdin=inside, stdout=inside, stderr=inside
    )
    os.close(inside)
    try:
        read_until(terminal, "percy in terminal")
        os.write(terminal, b"hello there\r")
        read_until(terminal, "percy: hello there")
        os.write(terminal, b"/quit\r")
        read_until(terminal, None)
        assert chat.wait(RUN_S) == 0
    finally:
        chat.kill()
        chat.wait()
        os.close(terminal)


def read_until(terminal: int, text: str | None) -> None:
    """Read what is drawn until it holds a text, its colours left aside; without one, to the end."""
    drawn, deadline = "", time.monotonic() + RUN_S
    while text is None or text not in drawn:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, drawn[-2000:]
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the other side of a pty is gone
            data = b""
        if not data:
            assert text is None, drawn[-2000:]
            return
        drawn += strip_colours(data.decode(errors="replace"))


def strip_colours(drawn: str) -> str:
    return re.sub(r"\x1b\[[0-9;:?]*m", "", drawn)
