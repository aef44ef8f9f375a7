"""Head files of any content under their right sha256: a head that answers, or BadHead; never a crash of the kernels."""

import hashlib
import json
import random

import numpy as np
import pytest

from head_worker.architecture import Architecture
from head_worker.engine import TokenVectors
from head_worker.float32 import Float32Head
from head_worker.int8 import tensors_of
from head_worker.load import load_head
from topology.errors import BadRecord, MalformedRecord
from topology.heads import HeadManifest
from topology.native.tensors import to_bytes
from topology.wire import Embedding

VALUES = (0, 1, -1, 3, 16, 64, 65, 2**31, 2**63, 10**30, None, True, "x", [], [64], [64, 64], 1.5, "F16", "I32", {})
WIDTHS = (0, 1, 2, 4, 15, 16, 17, 31, 32, 48, 64, 65, 128, 192, 2**31 - 1)
ROW = TokenVectors("on off", np.ones((3, 64), np.int8), np.ones(3, np.float32), np.zeros((3, 2), np.int32))


def valid(precision):
    """(header, data, manifest as a map) of a small head."""
    rng = np.random.default_rng(0)
    made_of = Architecture(hidden=64, width=64, ffn=64, pool=0, project=False, layer=True, intents=2, tags=1)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in made_of.tensors().items()}
    manifest = HeadManifest("a", "en", "v", "s", 64, ("on", "off"), ("O",), "x", precision=precision)
    body = to_bytes(tensors_of(Float32Head(manifest, weights)) if precision == "int8" else weights)
    size = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + size]), body[8 + size :], json.loads(manifest.to_json())


def changed(rng, header, data, manifest):
    """One to three changes of shapes, places, kinds, bytes or widths."""
    header, data, manifest = json.loads(json.dumps(header)), bytearray(data), dict(manifest)
    for _ in range(rng.randint(1, 3)):
        entry = header[rng.choice(list(header))]
        match rng.randrange(6):
            case 0:
                entry["shape"] = rng.choice([rng.choice(VALUES), rng.choices(WIDTHS, k=rng.randint(0, 5))])
            case 1:
                entry["data_offsets"] = [rng.choice(VALUES), entry["data_offsets"] and rng.choice(VALUES)]
            case 2:
                entry["dtype"] = rng.choice(VALUES)
            case 3:
                one, other = rng.choices(list(header), k=2)
                header[one], header[other] = header[other], header[one]
            case 4:
                for _ in range(rng.randint(1, 200)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            case 5:
                manifest[rng.choice(["attention_heads", "hidden"])] = rng.choice(WIDTHS)
    return header, bytes(data), manifest


def with_another_shape(rng, header, data, manifest):
    """A layer that says that it has other widths than its weights."""
    said = [entry["data_offsets"][0] for name, entry in header.items() if name.endswith(".shape")]
    at = rng.choice(said)
    return header, data[:at] + np.array(rng.choices(WIDTHS, k=2), np.int32).tobytes() + data[at + 8 :], manifest


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_whatever_a_head_file_says_it_answers_or_is_refused_by_name(precision, tmp_path):
    rng, base = random.Random(precision), valid(precision)
    for number in range(300):
        hurt = with_another_shape if precision == "int8" and number % 4 == 0 else changed
        header, data, manifest = hurt(rng, *base)
        text = json.dumps(header).encode()
        text += b" " * (-(8 + len(text)) % 64)
        body = len(text).to_bytes(8, "little") + text + data
        (tmp_path / "head.safetensors").write_bytes(body)
        (tmp_path / "head.json").write_text(json.dumps({**manifest, "sha256": hashlib.sha256(body).hexdigest()}))
        try:
            (scored,) = load_head(tmp_path).predict([ROW])
            assert np.isfinite(scored.confidence)
        except BadRecord as refused:
            assert len(str(refused)) < 500
            assert str(tmp_path) not in str(refused)


@pytest.mark.parametrize("wrong", [
    {"offsets": np.array([[0, 0], [0, 99]], "<i4")}, {"offsets": np.array([[-5, 3], [0, 2]], "<i4")},
    {"scales": np.array([np.nan, 1], "<f4")}, {"scales": np.array([np.inf, 1], "<f4")},
])
def test_an_embedding_that_points_out_of_its_text_or_is_not_finite_is_refused_by_itself(wrong):
    parts = {"scales": np.ones(2, "<f4"), "offsets": np.zeros((2, 2), "<i4"), **wrong}
    with pytest.raises(MalformedRecord, match=next(iter(wrong))):
        TokenVectors.of(Embedding(
            "id", "a", "on", "en", 1, 2, "", "en", "s", "int8", 2, 4, bytes(8), parts["scales"].tobytes(),
            parts["offsets"].tobytes(),
        ))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_head_whose_scores_are_not_finite_is_refused_and_gives_no_nan(tmp_path):
    header, data, manifest = valid("float32")
    at = header["intent.weight"]["data_offsets"][0]
    body = data[:at] + np.full(4, 3e38, "<f4").tobytes() + data[at + 16 :]
    text = json.dumps(header).encode()
    whole = len(text).to_bytes(8, "little") + text + body
    (tmp_path / "head.safetensors").write_bytes(whole)
    (tmp_path / "head.json").write_text(json.dumps({**manifest, "sha256": hashlib.sha256(whole).hexdigest()}))
    large = TokenVectors(ROW.text, ROW.data, np.full(3, 1e30, np.float32), ROW.offsets)
    with pytest.raises(BadRecord, match="not finite"):
        load_head(tmp_path).predict([large])
