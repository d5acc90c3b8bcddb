"""Runs the Autobahn test suite, a judge of RFC 6455 that we did not write, against the wire layer's echo server.

The suite runs on CPython 2.7 only and is kept in `.conformance/`.  Where there is no CPython 2.7 nothing is tested,
and the exit code says so: 77.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".conformance"
PINS = HERE / "requirements.txt"
VIRTUALENV = "virtualenv==20.21.1"  # the last that makes environments for 2.7

# Performance (9) is for the benchmarks.
PLAIN = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]
# Of compression (12, 13), whose 216 cases of 1,000 messages each take hours: JSON in all sizes up to 4 KiB, each other
# kind of data, each kind of offer, and fragments.
SOME_COMPRESSED = [
    *("12.1.1", "12.1.2", "12.1.3", "12.1.4", "12.1.5", "12.2.3", "12.3.3", "12.4.3", "12.5.3"),
    *("13.1.3", "13.2.3", "13.3.3", "13.4.3", "13.5.3", "13.6.3", "13.7.3", "13.7.11"),
]
ALL_COMPRESSED = ["12.*", "13.*"]
CASES, ALL_CASES = 247 + len(SOME_COMPRESSED), 247 + 216

# docs/conformance.md lists the cases that are good but not OK.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
GOOD_CLOSE = {"OK", "INFORMATIONAL"}

AGENT = "hubbub"
SUITE_TIMEOUT_S = 900.0
ALL_TIMEOUT_S = 8 * 3600.0
SKIPPED = 77


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--all"]):
        print("conformance: --all runs all cases of compression, which takes hours; there is no other argument")
        return 2
    is_all = bool(arguments)
    python27 = find_python27()
    if python27 is None:
        print("conformance: SKIPPED, nothing was tested: no CPython 2.7 in ~/.pyenv/versions (PYENV_ROOT) or on PATH")
        return SKIPPED
    wstest = install(python27)
    with echo_server() as url:
        if is_all:
            results = run_suite(wstest, url, PLAIN + ALL_COMPRESSED, ALL_TIMEOUT_S)
        else:
            results = run_suite(wstest, url, PLAIN + SOME_COMPRESSED, SUITE_TIMEOUT_S)
    return 1 if report(results, ALL_CASES if is_all else CASES) else 0


# Setting up


def find_python27() -> str | None:
    """A CPython 2.7 that starts."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [str(path) for path in sorted(root.glob("versions/2.7*/bin/python2.7"), reverse=True)]
    on_path = shutil.which("python2.7")
    if on_path is not None:
        candidates.append(on_path)
    # pyenv puts a python2.7 on PATH that only tells how to choose a version.
    return next((path for path in candidates if is_cpython27(path)), None)


def is_cpython27(path: str) -> bool:
    script = "import platform; print(platform.python_implementation() + platform.python_version())"
    try:
        found = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return False
    return found.stdout.startswith("CPython2.7.")


def install(python27: str) -> Path:
    """Install the suite, unless it is there with these very versions; its command."""
    wstest = CACHE / "python2.7" / "bin" / "wstest"
    stamp = CACHE / "installed.txt"
    wanted = f"{python27}\n{VIRTUALENV}\n{PINS.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return wstest
    print(f"installing the Autobahn suite for {python27} into {CACHE.name}/", flush=True)
    shutil.rmtree(CACHE, ignore_errors=True)
    venv.create(CACHE / "boot", with_pip=True)
    pip_install(CACHE / "boot", VIRTUALENV)
    run(CACHE / "boot" / "bin" / "virtualenv", "-q", "-p", python27, CACHE / "python2.7")
    pip_install(CACHE / "python2.7", "--no-deps", "-r", str(PINS))
    stamp.write_text(wanted)
    return wstest


def pip_install(environment: Path, *what: str) -> None:
    run(environment / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *what)


def run(*command: str | Path) -> None:
    # pip for 2.7 says at length that 2.7 is no longer maintained.
    subprocess.run(command, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


# Running


@contextmanager
def echo_server() -> Iterator[str]:
    """The echo server, once it listens; its URL."""
    command = [sys.executable, str(HERE / "echo_server.py"), "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            raise SystemExit("the echo server did not start")
        yield ready.split()[-1]
    finally:
        process.kill()
        process.wait()


def run_suite(wstest: Path, url: str, cases: list[str], timeout_s: float) -> dict[str, Any]:
    """Run the cases; each one's result by its number."""
    reports = CACHE / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    spec = CACHE / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(reports),
                "servers": [{"agent": AGENT, "url": url}],
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    with (CACHE / "wstest.log").open("wb") as log:
        # Its exit code is 0 whatever it finds; the index is what counts.
        command = [str(wstest), "-m", "fuzzingclient", "-s", str(spec)]
        subprocess.run(command, stdout=log, stderr=log, check=True, timeout=timeout_s)
    index: dict[str, dict[str, Any]] = json.loads((reports / "index.json").read_text())
    return index.get(AGENT, {})


# Judging


def report(results: dict[str, Any], expected: int) -> int:
    """Tell what came of it; how many failed."""
    cases = sorted(results, key=lambda case: [int(part) for part in case.split(".")])
    failed = [case for case in cases if not is_good(results[case])]
    for case in cases:
        if case in failed or results[case]["behavior"] != "OK":
            print(f"  {case}: {told(results[case])}")
    missing = abs(expected - len(cases))
    if missing:
        print(f"  {expected} cases expected, {len(cases)} run")
    print(f"the suite's own report: {CACHE.name}/reports/index.html")
    print(f"{len(cases) - len(failed)} passed, {len(failed) + missing} failed")
    return len(failed) + missing


def is_good(result: dict[str, Any]) -> bool:
    return result["behavior"] in GOOD and result["behaviorClose"] in GOOD_CLOSE


def told(result: dict[str, Any]) -> str:
    return f"{result['behavior']}, closing {result['behaviorClose']}, close code {result['remoteCloseCode']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
