"""Bytes that anybody may write: each decoder gives its record or the one error that it promises, never another."""

import dataclasses
import json
import random

import msgpack
import numpy as np
import pytest

from topology import wire
from topology.errors import BadHead, MalformedRecord
from topology.heads import HeadManifest
from topology.native.tensors import parse, to_bytes
from topology.registry import Candidate, HeadRecord, parse_key, parse_record
from topology.stream.embedding_cache import CachedEmbedding, _cached
from topology.stream.refusals import asker_of

RECORD = HeadRecord("acme", "en", "v1", "space", "aa", Candidate("v2", "space", "bb", "canary", 0.25))
MANIFEST = HeadManifest(
    "acme", "en", "v1", "space", 8, ("on", "off"), ("O", "B-room", "I-room"), "aa", temperature=1.5,
    metrics={"f1": {"room": 0.9}}, system_entities=("date",), synonyms={"room": {"living": ["lounge", "salon"]}},
)
UTTERANCE = wire.Utterance("id", "acme", "light on", "en", 1, 2, "replies")
EMBEDDING = wire.Embedding(
    "id", "acme", "light on", "en", 1, 2, "r", "en", "space", "int8", 2, 4, bytes(8), bytes(8), bytes(16),
    False, {"a": 1},
)
PREDICTION = wire.Prediction("id", "acme", "en", "en", "light on", "on", 0.5, entities=[{"start": 0, "label": "x"}])
TENSORS = to_bytes({"a": np.ones((2, 3), np.float32), "b": np.ones((3, 64), np.int8)}, {"about": "test"})
CACHED = msgpack.packb(dataclasses.astuple(CachedEmbedding(2, 4, bytes(8), bytes(8), bytes(16), False)))
STRANGE = (
    None, True, -1, 0, 7, 10**400, 2**63 - 1, 1e308, "", "x" * 300, "\ud800", "..", "a/b", "\0", [], {}, [[]],
    {"a": None}, [1] * 100, ["x", 1], {"": {"": [{}]}}, float("nan"), float("inf"),
)


def deep(levels, opening=b"[", closing=b"]"):
    return opening * levels + closing * levels


GARBAGE = (
    b"", b"[" * 100_000, deep(900), deep(100), b'{"a":' * 5_000, b"null", b"7", b'""', b"\xff\xfe", b"\0" * 64, b"{",
    b'{"share": 1e999}', b'{"a": NaN}', b'{"a": 1, "a": 2}', b"9" * 5_000, b"\x91" * 100_000, b"\x81\xa1a" * 2_000,
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\x90\x01", b"\x81\x81\x01\x02\x03",
    b"\xd7\xff" + b"\xff" * 8,
    b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"{}", b"\xc1", random.Random(1).randbytes(5 << 20),
)


def changed(rng, value):
    """A copy with one value, at any depth, replaced, removed or added."""
    value = json.loads(json.dumps(value, default=list)) if not isinstance(value, dict | list) else value.copy()
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    if not keys:
        return rng.choice(STRANGE)
    key = rng.choice(keys)
    if isinstance(value[key], dict | list) and rng.random() < 0.6:
        value[key] = changed(rng, value[key])
    elif rng.random() < 0.15:
        del value[key]
    else:
        value[key] = rng.choice(STRANGE)
    return value


def hurt(rng, body):
    """The bytes with a few of them changed, cut or doubled."""
    body = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(4):
            case 0:
                body[at : at + 1] = rng.randbytes(1)
            case 1:
                del body[at:]
            case 2:
                body[at:at] = body[at : at + rng.randint(1, 30)]
            case 3:
                body[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
        body = body or bytearray(b"x")
    return bytes(body)


def as_json(body):
    return json.dumps(body).encode()


def packed(body):
    return msgpack.packb(body, unicode_errors="surrogatepass")


def cases(seed, body, pack):
    """Garbage, changed values and hurt bytes of a valid body, the same ones every time."""
    rng = random.Random(seed)
    yield from GARBAGE
    for _ in range(1_500):
        try:
            yield pack(changed(rng, body))
        except (OverflowError, ValueError):
            continue  # a value that this format has no bytes for
    for _ in range(1_500):
        yield hurt(rng, pack(body))


def with_header(header):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(300)


def as_map(record):
    return dataclasses.asdict(record)


HEADER = json.loads(TENSORS[8 : 8 + int.from_bytes(TENSORS[:8], "little")])
DECODERS = {
    "registry record": (lambda b: parse_record(b"en/acme", b), MalformedRecord, as_map(RECORD), as_json),
    "head.json": (HeadManifest.from_json, BadHead, as_map(MANIFEST), as_json),
    "utterance": (lambda b: wire.decode(wire.Utterance, b), MalformedRecord, as_map(UTTERANCE), packed),
    "embedding": (lambda b: wire.decode(wire.Embedding, b), MalformedRecord, as_map(EMBEDDING), packed),
    "prediction": (lambda b: wire.decode(wire.Prediction, b), MalformedRecord, as_map(PREDICTION), packed),
    "asker": (asker_of, (), as_map(UTTERANCE), packed),
    "cached embedding": (lambda b: _cached(b, "lights off"), (), list(msgpack.unpackb(CACHED)), packed),
    "safetensors": (lambda b: parse(memoryview(b)), ValueError, HEADER, with_header),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_nothing_but_its_own_error(name):
    decode, promised, body, pack = DECODERS[name]
    decode(pack(body))
    for case in cases(name, body, pack):
        try:
            found = decode(case)
        except promised as error:
            assert len(str(error).encode()) < 2_000  # it fits a log line and a header, and has bytes
        else:
            if isinstance(found, wire.Utterance | wire.Embedding | wire.Prediction):
                wire.encode(found)
            elif isinstance(found, HeadManifest):
                HeadManifest.from_json(found.to_json())
            elif isinstance(found, HeadRecord):
                assert parse_record(found.key, found.to_bytes()) == found


@pytest.mark.parametrize("key", [
    None, b"", b"/", b"en/", b"/acme", b"en//abs/path", b"en/../..", b"en/..", b"en/.", b"../acme", b"en/a/b",
    b"en/a\\b", b"en/a\0b", b"en/\xff\xfe", b"en/" + b"x" * 100_000, b"en/\xed\xa0\x80", b"en", b"en/a\nb",
])
def test_a_registry_key_that_could_leave_the_store_is_refused(key):
    with pytest.raises(MalformedRecord) as refused:
        parse_key(key)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("field,value", [
    ("temperature", 10**400), ("temperature", 1e-300), ("temperature", True), ("temperature", float("nan")),
    ("hidden", 10**400), ("hidden", 2.0), ("attention_heads", 10**400), ("format", True),
    ("system_entities", 7), ("intents", [7]), ("out_of_scope_max_logit", -1), ("out_of_scope_max_logit", "x"),
    ("system_entities", "date"), ("intents", ["\ud800"]), ("intents", ["x" * 257]), ("tags", {"O": 1}),
    ("metrics", [1]), ("created", None), ("version", "../v"), ("tenant", ".."), ("ring", "a/b"), ("space", ["x"]),
    ("sha256", None), ("precision", ["int8"]), ("synonyms", {"a": {"b": "c"}}), ("synonyms", {"a": {"b": [["c"]]}}),
])
def test_a_manifest_names_the_field_that_is_wrong(field, value):
    with pytest.raises(BadHead, match=f"{field}|not JSON"):
        HeadManifest.from_json(json.dumps({**as_map(MANIFEST), field: value}))


def test_a_manifest_leaves_out_what_it_has_not_for_releases_that_know_no_such_field():
    assert "out_of_scope_max_logit" not in MANIFEST.to_json()
    later = dataclasses.replace(MANIFEST, out_of_scope_max_logit=3.5)
    assert HeadManifest.from_json(later.to_json()).out_of_scope_max_logit == 3.5
