import json

import numpy as np
import pytest

from head_worker.engine import Head, TokenVectors, shapes
from topology.errors import BadHead, WrongSpace
from topology.heads import HeadManifest, check_space

torch = pytest.importorskip("torch")

from infra.datasets import Entity, Example  # noqa: E402
from infra.training.evaluate import Labelled  # noqa: E402
from infra.training.fit import Target, fit  # noqa: E402
from infra.training.model import HeadModel  # noqa: E402

PLACES = ("boston", "denver", "dallas", "austin")


def example(rng, intent):
    place = PLACES[rng.integers(4)]
    text = f"{intent} to {place}"
    return Example(text, intent, (Entity(len(intent) + 4, len(text), "city"),))


def labelled(one, table):
    """Token vectors that are one random vector a word: what a head must be able to learn from."""
    words, offsets, at = [], [], 0
    for word in one.text.split():
        words.append(table.setdefault(word, np.random.default_rng(len(table)).normal(size=16).astype(np.float32)))
        offsets.append((at, at + len(word)))
        at += len(word) + 1
    return Labelled(one, TokenVectors(one.text, np.stack(words), np.array(offsets, np.int32)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    rng, table = np.random.default_rng(1), {}
    rows = [labelled(example(rng, ("fly", "drive")[i % 2]), table) for i in range(200)]
    out = tmp_path_factory.mktemp("head")
    fit(Target("acme", "en", "s1"), rows[:150], rows[150:], out, epochs=6)
    return out, rows


def test_a_head_learns_intents_and_spans(trained):
    out, rows = trained
    scored = Head.load(out).predict([one.row for one in rows[150:]])
    assert [s.intent for s in scored] == [one.example.intent for one in rows[150:]]
    for s, one in zip(scored, rows[150:], strict=True):
        assert [(e.start, e.end) for e in s.entities] == [(e.start, e.end) for e in one.example.entities]


def test_a_prediction_does_not_depend_on_its_batch_mates(trained):
    out, rows = trained
    head = Head.load(out)
    together = head.predict([one.row for one in rows[:8]])
    for one, scored in zip(rows[:8], together, strict=True):
        alone = head.predict([one.row])[0]
        assert alone.intent == scored.intent
        assert alone.confidence == pytest.approx(scored.confidence, abs=1e-5)


def test_numpy_and_torch_agree():
    torch.manual_seed(0)
    model = HeadModel(24, 3, 5).eval()
    manifest = HeadManifest("t", "en", "v", "s", 24, ("a", "b", "c"), ("O", "B-x", "I-x", "B-y", "I-y"), "x")
    head = Head(manifest, {name: t.numpy() for name, t in model.state_dict().items()})
    vectors = np.random.default_rng(0).normal(size=(2, 7, 24)).astype(np.float32)
    mask = np.ones((2, 7), bool)
    mask[1, 4:] = False
    with torch.inference_mode():
        want = model(torch.from_numpy(vectors), torch.from_numpy(mask))
    got = head._forward(vectors, mask)
    np.testing.assert_allclose(got[0], want[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(got[1][mask], want[1].numpy()[mask], atol=1e-4)
    assert {n: tuple(t.shape) for n, t in model.state_dict().items()} == shapes(24, 256, 512, 3, 5)


def broken_bytes(folder):
    place = folder / "head.safetensors"
    place.write_bytes(place.read_bytes()[:-7])


def broken_json(folder):
    (folder / "head.json").write_text("{")


def broken_field(folder):
    body = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**body, "temperature": 0}))


@pytest.mark.parametrize("hurt", [broken_bytes, broken_json, broken_field])
def test_a_damaged_head_is_refused_by_name(trained, tmp_path, hurt):
    for file in trained[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    Head.load(tmp_path)
    hurt(tmp_path)
    with pytest.raises(BadHead, match=str(tmp_path)):
        Head.load(tmp_path)


def test_spaces_must_be_the_same():
    check_space("a", "a")
    with pytest.raises(WrongSpace, match="train the head again"):
        check_space("a", "b")
