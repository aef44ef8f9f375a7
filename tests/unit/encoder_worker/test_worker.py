"""Where an encoder worker computes a batch: in its event loop, or on a thread beside it."""

import threading
import time

import pytest

pytest.importorskip("torch")

from transformers import BertTokenizerFast

from encoder_worker.tokens import Tokenizer
from encoder_worker.torch_engine import TorchEngine
from encoder_worker.worker import EncoderWorker
from tests.families import saved
from topology import wire
from topology.errors import BadRecord
from topology.settings import Cell, Ring, Settings
from topology.stream.records import Record

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "turn", "on", "the", "light"]


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """(a worker whose engine counts as a GPU's, the threads that its batches were computed on)."""
    saved("bert", tmp_path)
    BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(tmp_path)
    engine, threads = TorchEngine(tmp_path, "cpu", "float32"), []
    whole = engine.encode
    engine.on_gpu = True
    monkeypatch.setattr(engine, "encode", lambda *given: threads.append(threading.current_thread()) or whole(*given))
    ring = Ring(languages=("en",), encoder=str(tmp_path), cells={"a": Cell()})
    found = EncoderWorker(Settings(rings={"en": ring}), ring, engine, Tokenizer(tmp_path, 60), "space")
    for tokens in (10, 100) * 20:
        found.cost.note(tokens, 0.0003 + 1e-5 * tokens)
    return found, threads


def asked(texts, words):
    """Records of so many texts: each of a word more than the one before."""
    now_us = time.time_ns() // 1_000
    utterances = [wire.Utterance(f"id-{n}", "acme", " ".join(["turn"] * (words + n)), "en", now_us, now_us + 60_000_000,
                                 "m") for n in range(texts)]
    return [Record("topic", 0, n, b"", wire.encode(one)) for n, one in enumerate(utterances)]


def shares(found):
    """Make it a worker of a CPU, whose loop and mate share more than some 60 tokens."""
    found.on_gpu = found._engine.on_gpu = False
    found._engine.in_loop, found.has_mate = True, True
    for tokens in (10, 100) * 40:
        found.cost.note(tokens, 1e-4 * tokens)


@pytest.mark.parametrize(
    ("texts", "words", "waiting", "in_loop"),
    [(3, 4, 0, True), (30, 20, 0, False), (3, 4, 1, False)],  # short, long, short while a long one is computed
)
async def test_a_gpus_short_batch_is_computed_in_the_loop_unless_a_long_one_is(worker, texts, words, waiting, in_loop):
    found, threads = worker
    found._waiting = waiting
    outcomes = [outcome async for outcome in found.process(asked(texts, words))]
    assert sorted(record.offset for outcome in outcomes for record in outcome.done) == list(range(texts))
    assert {thread is threading.main_thread() for thread in threads} == {in_loop}


async def test_on_a_cpu_loop_and_mate_share_a_call_and_each_text_gets_its_own_vectors(worker):
    found, threads = worker
    shares(found)
    outcomes = [outcome async for outcome in found.process(asked(20, 4))]
    embedded = [wire.decode(wire.Embedding, output.value) for outcome in outcomes for output in outcome.outputs]
    assert sorted((one.id, one.tokens) for one in embedded) == sorted((f"id-{n}", n + 6) for n in range(20))
    assert len(threads) == 2 and threading.main_thread() in threads


@pytest.mark.parametrize("words", [4, 23])  # the loop's first text, the mate's longest
async def test_a_text_that_overflows_ends_a_shared_call_and_nothing_waits_after_it(worker, monkeypatch, words):
    found, threads = worker
    shares(found)
    whole, let = found._engine.encode, threading.Event()

    def encode(rows, *given):
        assert threading.current_thread() is threading.main_thread() or let.wait(10)
        encoded = whole(rows, *given)
        if words + 2 in map(len, rows):
            encoded.scales[0] = float("nan")
        return encoded

    monkeypatch.setattr(found._engine, "encode", encode)
    with pytest.raises(BadRecord, match="no finite vectors"):
        async for outcome in found.process(asked(20, 4)):
            if not outcome.done:  # it says that it waits for the mate
                let.set()
    let.set()
    assert found._waiting == 0 and len(threads) <= 2


async def test_few_texts_are_not_worth_a_mate(worker):
    found, threads = worker
    shares(found)
    outcomes = [outcome async for outcome in found.process(asked(3, 4))]
    assert sum(len(outcome.done) for outcome in outcomes) == 3
    assert threads == [threading.main_thread()]
