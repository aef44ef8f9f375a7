"""Where an encoder worker computes a batch: in its event loop, or on a thread beside it."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest

pytest.importorskip("torch")

from transformers import BertTokenizerFast

from encoder_worker.compute import Compute
from encoder_worker.tokens import Tokenizer
from encoder_worker.torch_engine import TorchEngine
from encoder_worker.worker import EncoderWorker
from tests.families import saved
from topology import wire
from topology.errors import BadRecord
from topology.pacing import PACING
from topology.settings import Cell, Ring, Settings
from topology.stream.outcomes import Computing
from topology.stream.records import Record

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "turn", "on", "the", "light"]
DEADLINE_S = 30


class Watched:
    """An engine that notes the threads it computes on, waits on others than the main one until it is `let`, and gives
    no finite vectors for rows of `overflows` tokens. `on_gpu`: what it passes for."""

    def __init__(self, engine, on_gpu):
        self._engine, self.on_gpu = engine, on_gpu
        self.threads, self.let, self.overflows = [], threading.Event(), 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def encode(self, rows):
        self.threads.append(threading.current_thread())
        assert threading.current_thread() is threading.main_thread() or self.let.wait(DEADLINE_S)
        encoded = self._engine.encode(rows)
        if self.overflows in map(len, rows):
            encoded.scales[0] = float("nan")
        return encoded


class Bench:
    """A worker with its engine, whose batches have cost so much so far."""

    def __init__(self, folder, on_gpu, fixed_s, per_token_s):
        saved("bert", folder)
        BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
        self.engine = Watched(TorchEngine(folder, "cpu", "float32"), on_gpu)
        ring = Ring(languages=("en",), encoder=str(folder), latency_ms=35.0, cells={"a": Cell()})
        self.compute = Compute(self.engine, ring, replace(PACING, max_on_cpu_thread=1))
        for tokens in (10, 100) * 20:
            self.compute.cost.note(tokens, fixed_s + per_token_s * tokens)
        settings = Settings(rings={"en": ring})
        self.worker = EncoderWorker(settings, ring, self.compute, Tokenizer(folder, 60), "space")

    async def steps(self, records):
        return [step async for step in self.worker.process(records)]


@pytest.fixture
def gpu(tmp_path):
    return Bench(tmp_path, True, 0.0003, 1e-5)


@pytest.fixture
def cpu(tmp_path):
    """A batch may take 35 ms: some 40 tokens."""
    return Bench(tmp_path, False, 0.0, 0.00085)


def asked(texts, words):
    """Records of so many texts: each of a word more than the one before."""
    now_us = time.time_ns() // 1_000
    utterances = [wire.Utterance(f"id-{n}", "acme", " ".join(["turn"] * (words + n)), "en", now_us, now_us + 60_000_000)
                  for n in range(texts)]
    return [Record("topic", 0, n, b"", wire.encode(one)) for n, one in enumerate(utterances)]


def offsets(outcomes):
    return sorted(record.offset for outcome in outcomes for record in outcome.done)


async def test_a_gpus_short_batch_is_computed_in_the_loop(gpu):
    steps = await gpu.steps(asked(3, 4))
    assert offsets(steps) == [0, 1, 2] and set(gpu.engine.threads) == {threading.main_thread()}


async def test_a_gpus_long_batch_goes_to_a_thread_and_a_short_one_behind_it(gpu):
    gpu.engine.let.set()
    long, = await gpu.steps(asked(30, 20))
    assert isinstance(long, Computing) and len(long.records) == 30
    waiting = asyncio.ensure_future(long.outcome)
    await asyncio.sleep(0)  # the thread has it
    short, = await gpu.steps(asked(3, 4))
    assert isinstance(short, Computing)
    assert offsets([await waiting, await short.outcome]) == sorted([*range(30), *range(3)])
    assert threading.main_thread() not in gpu.engine.threads


async def test_on_a_cpu_the_loop_computes_batches_that_take_no_longer_than_the_ring_allows(cpu):
    steps = await cpu.steps(asked(20, 4))
    batches = [[wire.decode(wire.Embedding, output.value) for output in step.outputs] for step in steps]
    embedded = [(one.id, one.tokens) for batch in batches for one in batch]
    assert sorted(embedded) == sorted((f"id-{n}", n + 6) for n in range(20))
    assert len(batches) > 5 and all(sum(one.tokens for one in batch) <= 45 for batch in batches)
    assert set(cpu.engine.threads) == {threading.main_thread()}


async def test_on_a_cpu_a_row_longer_than_a_batch_may_be_goes_to_a_thread_and_too_many_of_them_stop_the_worker(cpu):
    short, long = await cpu.steps([*asked(1, 4), *asked(1, 55)])
    assert offsets([short]) == [0] and isinstance(long, Computing)
    waiting = asyncio.ensure_future(long.outcome)
    await asyncio.sleep(0)  # the thread has it
    assert not cpu.worker.takes_more()
    cpu.engine.let.set()
    assert offsets([await waiting]) == [0] and cpu.worker.takes_more()


@pytest.mark.parametrize("tokens", [6, 57])  # computed in the loop, and on the thread
async def test_a_text_that_overflows_is_told_to_the_loop_and_nothing_waits_after_it(cpu, tokens):
    cpu.engine.overflows = tokens
    cpu.engine.let.set()
    with pytest.raises(BadRecord, match="no finite vectors"):
        for step in await cpu.steps(asked(1, tokens - 2)):
            await step.outcome
    assert cpu.worker.takes_more()
