"""The frame of a worker process: the first cause is the last line, and a signal ends it within a bound."""

import re
import signal
import subprocess
import sys
import time

import pytest

from topology.release import VERSION

FRAME = """
import asyncio, sys, threading
from topology import pacing
object.__setattr__(pacing.PACING, "stop_s", 0.3)
object.__setattr__(pacing.PACING, "close_s", 0.3)
from topology.errors import Misconfigured, Unavailable
from topology.stream.process import run_process

async def main(stop):
{body}
sys.exit(run_process(main))
"""


def ends(body, send=None):
    code = FRAME.format(body="\n".join("    " + line for line in body.strip().splitlines()))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        if send is not None:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(send)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, err.splitlines()[-1:]


@pytest.mark.parametrize("over", ["raise asyncio.CancelledError()", "raise OSError('close')", "raise KeyError('x')"])
@pytest.mark.parametrize("first,code", [("Unavailable", 75), ("Misconfigured", 2)])
def test_what_closing_raises_does_not_hide_what_ended_the_run(first, code, over):
    body = f"try:\n    raise {first}('the first cause')\nfinally:\n    {over}"
    assert ends(body) == (code, ["headrace: the first cause"])


def test_the_first_line_tells_the_release():
    code = FRAME.format(body="    raise Misconfigured('the end')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert re.search(rf"INFO topology.stream.process: Headrace {re.escape(VERSION)}, process \d+$",
                     done.stderr.splitlines()[0])


def test_what_is_forgotten_unclosed_does_not_hide_what_ended_the_run():
    body = """
class Forgotten:
    def __del__(self, loop=asyncio.get_running_loop()):
        loop.call_exception_handler({"message": "Unclosed consumer"})
forgotten = Forgotten()
raise Misconfigured("the first cause")
"""
    assert ends(body) == (2, ["headrace: the first cause"])


def test_an_error_that_nobody_expected_asks_for_a_restart_and_is_the_last_line():
    assert ends("{}['missing']") == (75, ["headrace: KeyError('missing')"])


def test_a_signal_ends_what_neither_stops_nor_lets_itself_be_cancelled():
    body = """
def hold():
    threading.Event().wait()
asyncio.get_running_loop().run_in_executor(None, hold)
print("ready", flush=True)
while True:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        pass
"""
    started = time.monotonic()
    assert ends(body, send=signal.SIGTERM)[0] == 0
    assert time.monotonic() - started < 30


def test_a_signal_lets_work_in_hand_be_finished():
    code, _ = ends("print('ready', flush=True)\nawait stop.wait()\nawait asyncio.sleep(0)", send=signal.SIGTERM)
    assert code == 0
