"""Shutdown a process that is told to: whatever blocks it, and at once the second time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

# Far more than a test takes, and far less than what blocks.
PATIENCE_S = 30.0

PROGRAM = """
import asyncio, os, re, sqlite3, sys, threading, time
import uvloop
from hubbub import shutdown as module
from hubbub.shutdown import Shutdown
from hubbub.logs import configure_logging

FOREVER = "WITH RECURSIVE n(x) AS (SELECT ready() UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"

def ready():
    print("ready", flush=True)
    return 1

def query():
    connection = sqlite3.connect(":memory:")
    connection.create_function("ready", 0, ready)
    connection.execute(FOREVER)

def block(how):
    if how == "query":
        query()  # ready when it has begun: from then on it neither looks for signals nor comes back
    ready()
    match how:
        case "sleep": time.sleep(3600)
        case "regex": re.match("(a+)+$", "a" * 100 + "b")
        case "loop":
            while True: pass
        case "thread": threading.Thread(target=time.sleep, args=(3600,)).start()

async def serve(shutdown, how):
    stop = asyncio.Event()
    shutdown.attach(stop)
    asyncio.get_running_loop().call_soon(block, how)
    await stop.wait()
    print("stopping", flush=True)
    if how == "task":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

how, limit_s, module.LOG_S = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
configure_logging("text", "info")
with Shutdown(limit_s) as shutdown, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
    runner.run(serve(shutdown, how))
"""

BLOCKS = ["sleep", "regex", "query", "loop", "thread", "task"]


def start(how: str, limit_s: float, log_s: float = 0.1, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """A process that is blocked, or will not end."""
    command = [sys.executable, "-c", PROGRAM, how, str(limit_s), str(log_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what it has said on the standard error."""
    try:
        _out, said = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return process.returncode, said


@pytest.mark.parametrize("how", BLOCKS)
def test_a_signal_ends_the_process_in_time_whatever_blocks_it(how: str) -> None:
    process = start(how, 0.1)
    process.send_signal(signal.SIGTERM)
    code, said = end(process)
    assert code == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("how", BLOCKS)
def test_a_second_signal_ends_it_at_once(how: str) -> None:
    process = start(how, 3600.0)
    # Two of one kind may become one on the way.
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    code, said = end(process)
    assert code in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert said == ""


def test_the_log_says_what_could_not_be_stopped() -> None:
    process = start("sleep", 0.1, log_s=PATIENCE_S)
    process.send_signal(signal.SIGTERM)
    _code, said = end(process)
    assert "not stopped in time" in said


def test_one_signal_is_an_end_in_order() -> None:
    process = start("nothing", 3600.0)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "stopping\n"
    assert end(process) == (0, "")


def test_a_log_that_nobody_reads_does_not_hold_it_up() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writing, True)
    process = start("sleep", 0.1, stderr=writing)
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 1
    os.close(writing)
    os.close(reading)
