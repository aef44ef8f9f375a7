"""A small stack for tests: a BERT with random weights, whose token vectors still tell words apart, and a head on it."""

import asyncio
from contextlib import contextmanager

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from infra import announce, heads
from infra.stack.up import stack
from infra.training.examples import Entity, Example
from infra.training.fit import Recipe

WORDS = ("turn", "switch", "on", "off", "light", "kitchen", "bathroom", "the", "in")
CONFIG = """
state_dir = "state"
{connections}
[heads]
store = "{store}"
[limits]
max_chars = 200
max_tokens = 40
{limits}
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
precision = "{precision}"
partitions = 4
workers = {workers}
[rings.en.cells.a]
partitions = 4
workers = {workers}
{extra}
"""


def example(number):
    """One of eight utterances: what to do, and the room."""
    room = ("kitchen", "bathroom")[number % 2]
    act = ("on", "off")[number // 2 % 2]
    text = f"{('turn', 'switch')[number // 4 % 2]} {act} the light in the {room}"
    return Example(text, act, (Entity(len(text) - len(room), len(text), "room"),))


@contextmanager
def small_stack(home, kind="embedded", workers=1, precision="float32", store="heads", extra="", overflows=(),
                connections=None, say=print, limits="", worker_metrics=False, zones=()):
    """(settings, supervisor, head directory) of a running stack with the tenant `acme`. `extra`: more of its file,
    `limits`: of its section `limits`.
    `connections`: its sections `broker` and `redis`, instead of `kind`. `overflows`: words more, whose vectors are not
    finite. `zones`: as of `stack`."""
    encoder = home / "encoder"
    small_encoder(encoder, overflows)
    config = home / "headrace.toml"
    config.write_text(CONFIG.format(
        encoder=encoder, workers=workers, precision=precision, store=store, extra=extra,
        limits=limits,
        connections=connections or f'[broker]\nkind = "{kind}"',
    ))
    with stack(config, say, worker_metrics, zones) as (settings, supervisor):
        out = home / "acme"
        examples = [example(i) for i in range(80)]
        embedder = heads.Embedder(settings, settings.rings["en"])
        heads.train(embedder, "acme", examples, None, out, Recipe(epochs=15))
        asyncio.run(announce.publish(settings, out))
        yield settings, supervisor, out


def small_encoder(encoder, overflows=()):
    """Make the encoder of these stacks. Returns its directory."""
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *overflows]
    encoder.mkdir()
    (encoder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(encoder)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertModel(BertConfig(vocab_size=len(vocabulary) - len(overflows), **size))
    words = model.embeddings.word_embeddings
    words.weight = torch.nn.Parameter(torch.cat([words.weight, torch.full((len(overflows), 32), 1e38)]))
    model.config.vocab_size = len(vocabulary)
    model.save_pretrained(encoder)
    return encoder
