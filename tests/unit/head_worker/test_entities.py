"""System entities within a time for each text: what a text costs falls on nobody else."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("dateparser")
pytest.importorskip("quantulum3")

from head_worker import entities
from head_worker.architecture import Architecture
from head_worker.engine import TokenVectors
from head_worker.entities import EntityProcess
from head_worker.float32 import Float32Head
from head_worker.system import MAX_CHARS, readable
from topology.heads import SYSTEM_ENTITIES, HeadManifest
from topology.pacing import PACING

NOW_US = 1_795_000_000_000_000  # 2026-11-18
PLAIN = "pay $5 tomorrow at 5 pm in 3 minutes"
# By the clock a busy machine may take long; what ends a text is the processor's time, which it does not change.
PATIENT = replace(PACING, entity_wait_s=60.0, entity_first_wait_s=60.0, entity_start_s=120.0, entity_restart_s=0.0)
HOSTILE = {
    "digits": "wait " + "9" * 8_179 + " minutes", "digits of another script": "٣" * 8_192, "emoji": "😀" * 8_192,
    "number words": "one two three four five " * 341, "joined number words": "five and " * 910, "slashes": "1/" * 4_096,
    "numbers": "12 34 7.5 " * 819, "currency signs": "$" * 8_192, "amounts": "$5 " * 2_730, "dots": "1." * 4_096,
    "commas": "1," * 4_096, "colons": "1:" * 4_096, "signs": "-1" * 4_096, "exponents": "1e9" * 2_730,
    "dates": "tomorrow at 5 pm " * 481,
    "near addresses": "a@" * 4_096, "dotted words": "a." * 4_096,
    "blanks": "1" + " " * 8_190 + "2", "superscripts": "²" * 8_192, "units": "5 km/h per m^2 " * 546,
    "one word": "a" * 8_192,
    "no blanks": "明天下午三点" * 1_365, "a number without end": "in 1e400 days",
    "a year without end": "in 99999999999 years",
}


@pytest.fixture(scope="module")
def process():
    found = EntityProcess(PATIENT)
    found.start()
    yield found
    found.stop()


def find(process, text, lang="en"):
    return process.find(text, lang, NOW_US, SYSTEM_ENTITIES)


def kinds(found):
    return found and [one.kind for one in found]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_read_within_its_time_or_left_out_and_the_next_text_finds_all_as_before(process, name):
    before = process.counts["entities_left_out"]
    found = find(process, HOSTILE[name])
    assert process.counts["entities_left_out"] - before == (found is None)
    assert all(one.end <= MAX_CHARS and np.isfinite(one.value) for one in found or () if isinstance(one.value, float))
    assert kinds(find(process, PLAIN)) == ["amount", "time"]


def test_a_text_that_takes_too_long_is_left_out_and_counted(process):
    before = process.counts["entities_left_out"]
    assert find(process, "five and " * 111) is None
    assert process.counts["entities_left_out"] == before + 1


@pytest.mark.parametrize("lang", ["fr", "de", "zh", "xx", "", "../x", "\0"])
def test_a_language_costs_no_other_its_answers(process, lang):
    find(process, PLAIN, lang)
    assert kinds(find(process, PLAIN)) == ["amount", "time"]


def test_a_process_that_is_gone_is_started_again(process):
    os.kill(process._process.pid, signal.SIGKILL)
    end = time.monotonic() + 120
    while find(process, PLAIN) is None:
        assert time.monotonic() < end
    assert kinds(find(process, PLAIN)) == ["amount", "time"]


def test_a_busy_process_keeps_nobody_longer_than_the_wait():
    process = EntityProcess(replace(PATIENT, entity_wait_s=0.05, entity_first_wait_s=60.0))
    try:
        process.start()
        find(process, PLAIN)
        os.kill(process._process.pid, signal.SIGSTOP)
        begun = time.monotonic()
        assert [find(process, PLAIN) for _ in range(3)] == [None] * 3
        assert time.monotonic() - begun < 30
        os.kill(process._process.pid, signal.SIGCONT)
        end = time.monotonic() + 120
        while find(process, PLAIN) is None:
            assert time.monotonic() < end
    finally:
        process.stop()


def test_the_rest_of_the_prediction_is_answered(process, monkeypatch):
    monkeypatch.setattr("head_worker.engine.entity_process", lambda: process)
    made_of = Architecture(hidden=8, width=8, ffn=16, pool=0, project=False, layer=True, intents=2, tags=1)
    weights = {name: np.ones(shape, np.float32) for name, shape in made_of.tensors().items()}
    manifest = HeadManifest("a", "en", "v", "s", 8, ("on", "off"), ("O",), "x", system_entities=SYSTEM_ENTITIES)
    ones = (np.ones((2, 8), np.int8), np.ones(2, np.float32), np.zeros((2, 2), np.int32), "en", NOW_US)
    scored = Float32Head(manifest, weights).predict([TokenVectors(t, *ones) for t in ("five and " * 111, PLAIN)])
    assert [(one.intent, len(one.entities)) for one in scored] == [("on", 0), ("on", 2)]
    entities.entity_process().stop()  # the head had it started


ORPHAN = """
import os, signal
from head_worker.entities import EntityProcess
from topology.pacing import PACING
process = EntityProcess(PACING)
process.start()
print(process._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_ends_with_a_worker_that_was_killed():
    command = [sys.executable, "-W", "ignore", "-c", ORPHAN]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120)
    end = time.monotonic() + 60
    while _lives(int(done.stdout)):
        assert time.monotonic() < end


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"  # nobody reaps an orphan in some containers
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("text", [
    "card 4111111111111111 of DE89370400440532013000", "at 2026-11-18T08:26:40.123456+00:00 call +49-170-1234567",
    "1,000,000,000,000.00 euros", "x" * MAX_CHARS, "am 3. März",
])
def test_what_people_type_is_looked_through_as_it_is(text):
    assert readable(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_looked_through_is_a_beginning_with_every_character_in_its_place(text):
    read = readable(text)
    assert len(read) <= MAX_CHARS
    assert all(here in (there, "|") for here, there in zip(read, text, strict=False))


def test_a_machine_that_starts_no_process_now_costs_the_entities_and_not_the_text(monkeypatch):
    def refused(*_, **__):
        raise BlockingIOError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    process = EntityProcess(PATIENT)
    process.start()
    assert find(process, PLAIN) is None and find(process, PLAIN) is None
    assert process.counts["entities_left_out"] == 2
