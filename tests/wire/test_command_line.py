"""The command line: what the operator got wrong is one line, and flags come before the environment before the file."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from servers import ServerProcess, running
from wire.raw_clients import ask

RUN_S = 30.0
SERVE = [sys.executable, "-m", "hubbub", "serve"]
QUIET = ["--no-tls"]


def run(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, program: list[str] = SERVE
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    clean |= {"XDG_DATA_HOME": str(folder)}
    command = [*program, *arguments]
    environment = clean | dict(env or {})
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 0, "", "it serves, as if nothing were wrong\n")


def assert_explained(result: subprocess.CompletedProcess[str], *what: str) -> None:
    """One line that names what is wrong, and exit code 2."""
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.endswith("\n")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "Traceback" not in result.stderr
    for word in what:
        assert word in result.stderr, result.stderr


# One line


MISTAKES = [
    (["--prot", "8080"], ["--prot"]),
    (["--port", "many"], ["--port", "many"]),
    (["--port", "-1"], ["--port", "-1"]),
    (["--port", "70000"], ["--port", "70000"]),
    (["--max-frame", "1.5"], ["--max-frame"]),
    (["--max-frame", "-1"], ["--max-frame", "-1"]),
    (["--client-rate", "nan"], ["--client-rate"]),
    (["--otp-ttl", "0"], ["--otp-ttl"]),
    (["--heartbeat-interval", "inf"], ["--heartbeat-interval"]),
    (["--heartbeat-timeout", "0"], ["--heartbeat-timeout"]),
    (["--log-level", "chatty"], ["--log-level", "chatty"]),
    (["--log-format", "xml"], ["--log-format", "xml"]),
    (["--host", "no.such.host.invalid"], ["--host", "no.such.host.invalid"]),
    (["--host", "192.0.2.1"], ["--host", "192.0.2.1"]),
    (["--host", ""], ["--host"]),
    (["--host", "a" * 300], ["--host"]),
    (["--engine", "carrier-pigeon://coop"], ["--engine", "carrier-pigeon"]),
    (["--allow-origin", "*"], ["--allow-origin"]),
    (["--allow-origin", "https://example.com/chat"], ["--allow-origin"]),
    (["--allow-origin", "https://[::1"], ["--allow-origin"]),
    (["--demo", "--host", "0.0.0.0"], ["--demo", "0.0.0.0"]),
    (["--demo", "--host", "::"], ["--demo", "::"]),
    (["no-colon"], ["no-colon"]),
    (["no_such_module:hub"], ["no_such_module"]),
    (["json:loads"], ["json", "loads"]),
    ([":hub"], [":hub"]),
    ([".relative:hub"], [".relative"]),
    (["a b:hub"], ["a b"]),
    (["json:loads", "more"], ["more"]),
    (["--tls-cert", "missing.pem"], ["--tls-cert", "--tls-key"]),
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What came of each mistake.  They are made several at a time: starting Python is the most of each."""
    folder = tmp_path_factory.mktemp("mistakes")
    lines = [arguments for arguments, _ in MISTAKES]
    with ThreadPoolExecutor(4) as several:
        found = several.map(lambda arguments: run(folder, *QUIET, *free_port_unless_given(arguments)), lines)
        return {" ".join(arguments): result for arguments, result in zip(lines, found, strict=True)}


def free_port_unless_given(arguments: list[str]) -> list[str]:
    return arguments if "--port" in arguments else [*arguments, "--port", "0"]


@pytest.mark.parametrize(("arguments", "what"), MISTAKES, ids=[" ".join(arguments)[:40] for arguments, _ in MISTAKES])
def test_what_is_wrong_is_one_line_that_names_it(
    results: dict[str, subprocess.CompletedProcess[str]], arguments: list[str], what: list[str]
) -> None:
    assert_explained(results[" ".join(arguments)], *what)


def test_an_unknown_command_is_one_line(tmp_path: Path) -> None:
    assert_explained(run(tmp_path, "sevre", program=SERVE[:-1]), "sevre")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_explained(run(tmp_path, "--no-tls", "--port", port), "--port", port)


def test_a_certificate_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    with running(tmp_path, tls=True):
        pass
    ca, leaf = tmp_path / "data" / "ca.pem", tmp_path / "data" / "localhost.pem"
    ca_key = tmp_path / "data" / "ca.key"
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    port = ["--port", "0"]
    assert_explained(run(tmp_path, *port, "--tls-cert", str(leaf), "--tls-key", str(ca_key)), "--tls-key", str(ca_key))
    assert_explained(
        run(tmp_path, *port, "--tls-cert", str(nonsense), "--tls-key", str(ca_key)), "--tls-cert", str(nonsense)
    )
    assert_explained(run(tmp_path, *port, "--tls-cert", str(ca), "--tls-key", str(ca)), "--tls-key", str(ca))
    assert_explained(
        run(tmp_path, *port, "--tls-cert", str(tmp_path), "--tls-key", str(ca_key)), "--tls-cert", str(tmp_path)
    )
    missing = str(tmp_path / "missing.pem")
    assert_explained(run(tmp_path, *port, "--tls-cert", missing, "--tls-key", missing), "--tls-cert", missing)
    assert_explained(run(tmp_path, *port, "--tls-cert", str(leaf)), "--tls-key")
    assert_explained(run(tmp_path, *port, "--no-tls", "--tls-cert", str(leaf), "--tls-key", str(ca_key)), "--no-tls")


def test_a_data_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert_explained(run(tmp_path, "--port", "0", "--data-dir", str(file)), "--data-dir", str(file))
    assert_explained(run(tmp_path, "--port", "0", "--data-dir", str(file / "below")), "--data-dir", str(file))


def test_help_and_version_are_no_errors(tmp_path: Path) -> None:
    for arguments in (["--help"], ["--version"], ["serve", "--help"]):
        result = run(tmp_path, *arguments, program=SERVE[:-1])
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout


# Flags, environment, file


def origins_allowed(server: ServerProcess, *origins: str) -> set[str]:
    """Those that may read an answer."""
    return {
        origin
        for origin in origins
        if ask(server, "GET", "/healthz", headers={"Origin": origin}).headers["Access-Control-Allow-Origin"] == origin
    }


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text(
        'max-otps = 1\nmax-otps-per-account = 1\nclient-rate = 7\nlog-level = "debug"\n'
    )
    env = {"HUBBUB_MAX_OTPS_PER_ACCOUNT": "2", "HUBBUB_CLIENT_RATE": "8", "HUBBUB_OTP_TTL": "120"}
    with running(tmp_path, "--max-otps", "100", "--client-rate", "9", env=env, cwd=tmp_path) as server:
        token = server.login()["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        # The flag's 100 in all, the environment's 2 of one account.
        assert [ask(server, "POST", "/otp", headers=bearer).status for _ in range(2)] == [200, 429]
        # The file's log level.
        assert "[debug" in server.log() or '"POST /otp' in server.log()


def test_an_origin_can_be_set_in_the_environment_and_in_the_file(tmp_path: Path) -> None:
    one, two = "https://one.example", "https://two.example"
    with running(tmp_path, env={"HUBBUB_ALLOW_ORIGIN": one}) as server:
        assert origins_allowed(server, one, two) == {one}
    (tmp_path / "hubbub.toml").write_text(f'allow-origin = ["{one}", "{two}"]\n')
    with running(tmp_path) as server:
        assert origins_allowed(server, one, two) == {one, two}
    with running(tmp_path, "--allow-origin", two) as server:
        assert origins_allowed(server, one, two) == {two}


@pytest.mark.parametrize(
    ("setting", "scheme"), [(None, "https"), ("1", "http"), ("true", "http"), ("0", "https"), ("false", "https")]
)
def test_tls_can_be_turned_off_in_the_environment(tmp_path: Path, setting: str | None, scheme: str) -> None:
    assert announced_scheme(tmp_path, {} if setting is None else {"HUBBUB_NO_TLS": setting}) == scheme


def test_tls_can_be_turned_off_in_the_file_and_on_again_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "hubbub.toml").write_text("no-tls = true")
    assert announced_scheme(tmp_path, {}) == "http"
    assert announced_scheme(tmp_path, {"HUBBUB_NO_TLS": "0"}) == "https"


def announced_scheme(folder: Path, env: dict[str, str]) -> str:
    """The scheme of the URL that a server announces."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HUBBUB_")}
    command = [*SERVE, "--port", "0", "--engine", "memory://", "--data-dir", str(folder / "data")]
    with subprocess.Popen(
        command, cwd=folder, env=clean | env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
        finally:
            process.kill()
    found = re.search(r"listens on (https?)://", line)
    assert found, line
    return found[1]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("prot = 8080", "prot"),
        ("[serv]\nport = 0", "serv"),
        ('port = "many"', "port"),
        ("port = [1]", "port"),
        ("port = ", "hubbub.toml"),
        ("demo = 7.5", "demo"),
        ('log-level = "chatty"', "log-level"),
        ("max-frame = -1", "max-frame"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "hubbub.toml").write_text(text)
    assert_explained(run(tmp_path, "--no-tls", "--host", "127.0.0.1"), what)


def test_a_mistake_in_the_environment_is_one_line(tmp_path: Path) -> None:
    assert_explained(run(tmp_path, *QUIET, env={"HUBBUB_MAX_FRAME": "large"}), "MAX_FRAME", "large")


# Ctrl-C

# Interrupts itself when a module is about to be imported.
INTERRUPTED = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

module = sys.argv.pop(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever has started the tests may ignore it
sys.meta_path.insert(0, Interrupt())
from hubbub.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["hubbub.cli", "cyclopts", "hubbub.process", "uvloop", "hubbub.server"])
def test_an_interrupt_while_modules_are_loaded_ends_it_without_a_traceback(tmp_path: Path, module: str) -> None:
    result = run(tmp_path, module, "serve", "--port", "0", program=[sys.executable, "-c", INTERRUPTED])
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("answers", [[b"\x04"], [b"secret\n", b"\x04"]], ids=["at once", "at the second question"])
def test_the_end_of_input_at_a_password_prompt_is_one_line(tmp_path: Path, answers: list[bytes]) -> None:
    code, said = at_a_terminal(tmp_path, [*SERVE[:-1], "user", "add", "zoe"], answers)
    assert code == 2
    assert said.endswith("hubbub: no password for zoe: nothing was typed, and nothing was changed\r\n")
    assert "Traceback" not in said


def at_a_terminal(folder: Path, command: list[str], answers: list[bytes]) -> tuple[int, str]:
    """The exit code of a program at a terminal, and what it has shown; it is given an answer to each question."""
    terminal, its_side = pty.openpty()
    env = os.environ | {"XDG_DATA_HOME": str(folder)}
    env.pop("HUBBUB_PASSWORD", None)
    said = b""
    with subprocess.Popen(
        command, cwd=folder, env=env, stdin=its_side, stdout=its_side, stderr=its_side, start_new_session=True
    ) as process:
        os.close(its_side)
        with suppress(OSError):  # how a terminal ends
            while part := os.read(terminal, 1000):
                said += part
                if answers and said.endswith(b": "):
                    os.write(terminal, answers.pop(0))
        os.close(terminal)
        return process.wait(RUN_S), said.decode()
