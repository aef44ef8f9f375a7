import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from head_worker.decode import is_legal, legal_transitions
from head_worker.engine import TokenVectors
from head_worker.float32 import Float32Head
from head_worker.int8 import Int8Head, as_float32, tensors_of
from head_worker.load import load_head
from tests.built import needs_kernels
from topology.errors import BadHead, WrongSpace
from topology.heads import HeadManifest, check_space

torch = pytest.importorskip("torch")

from infra.training.evaluate import Labelled  # noqa: E402
from infra.training.examples import Entity, Example  # noqa: E402
from infra.training.fit import Recipe, Target, fit, write_head  # noqa: E402
from infra.training.model import SIZES, HeadModel, Size  # noqa: E402
from infra.training.transitions import associations, likelihoods, log_likelihood  # noqa: E402
from topology.native.int8 import quantize  # noqa: E402
from topology.native.kernels import kernels  # noqa: E402

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
    return Labelled(one, row_of(one.text, np.stack(words), offsets))


def row_of(text, vectors, offsets):
    data, scales = quantize(vectors)
    return TokenVectors(text, data, scales, np.array(offsets, np.int32))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    rng, table = np.random.default_rng(1), {}
    rows = [labelled(example(rng, ("fly", "drive")[i % 2]), table) for i in range(200)]
    out = tmp_path_factory.mktemp("head")
    fit(Target("acme", "en", "s1"), rows[:150], rows[150:], out, Recipe(epochs=6))
    return out, rows


def test_a_head_learns_intents_and_spans(trained):
    out, rows = trained
    scored = load_head(out).predict([one.row for one in rows[150:]])
    assert [s.intent for s in scored] == [one.example.intent for one in rows[150:]]
    for s, one in zip(scored, rows[150:], strict=True):
        assert [(e.start, e.end) for e in s.entities] == [(e.start, e.end) for e in one.example.entities]


def test_a_prediction_does_not_depend_on_its_batch(trained):
    out, rows = trained
    head = load_head(out)
    together = head.predict([one.row for one in rows[:8]])
    for one, scored in zip(rows[:8], together, strict=True):
        alone = head.predict([one.row])[0]
        assert alone.intent == scored.intent
        assert alone.confidence == pytest.approx(scored.confidence, abs=1e-5)


OWN_WIDTH = Size(width=0, ffn=64, heads=3, pool=16)
TAGS = ("O", "B-x", "I-x", "B-y", "I-y")


def random_head(size, hidden=48):
    """A head with random weights: (torch's model, the numpy head)."""
    torch.manual_seed(0)
    tags = TAGS if size.layer else TAGS[:1]
    model = HeadModel(hidden, 3, len(tags), size).eval()
    manifest = HeadManifest(
        "t", "en", "v", "s", hidden, ("a", "b", "c"), tags, "x", attention_heads=size.heads
    )
    return model, Float32Head(manifest, {name: t.detach().numpy() for name, t in model.state_dict().items()})


@pytest.mark.parametrize("size", [SIZES["compact"], SIZES["small"], OWN_WIDTH], ids=["compact", "small", "own width"])
def test_numpy_and_torch_agree(size):
    model, head = random_head(size)
    vectors = np.random.default_rng(0).normal(size=(2, 7, 48)).astype(np.float32)
    mask = np.ones((2, 7), bool)
    mask[1, 4:] = False
    with torch.inference_mode():
        want = model(torch.from_numpy(vectors), torch.from_numpy(mask))
    got = head.forward(vectors, mask)
    np.testing.assert_allclose(got[0], want[0].numpy(), atol=1e-4)
    if size.layer:
        np.testing.assert_allclose(got[1][mask], want[1].numpy()[mask], atol=1e-4)
    assert {n: tuple(t.shape) for n, t in model.state_dict().items()} == head.architecture.tensors()


def rows(count, hidden=48):
    rng = np.random.default_rng(3)
    return [row_of("x", rng.normal(size=(n, hidden)).astype(np.float32), [(0, 1)] * n) for n in range(1, count + 1)]


def test_two_intents_that_fit_alike_are_in_scope_and_an_older_head_refuses_by_confidence(monkeypatch):
    _, head = random_head(SIZES["small"])
    logits = np.array([[9.0, 9.0, 0.0]], np.float32)
    monkeypatch.setattr(head, "logits", lambda asked: (logits, np.zeros((1, 1), np.float32)))
    head.manifest = replace(head.manifest, out_of_scope_threshold=0.6)
    assert head.predict(rows(1))[0].out_of_scope, "no max logit is in its head.json"
    head.manifest = replace(head.manifest, out_of_scope_max_logit=2.0)
    assert not head.predict(rows(1))[0].out_of_scope
    logits[0, :2] = 3.0
    assert head.predict(rows(1))[0].out_of_scope


@needs_kernels
@pytest.mark.parametrize("size", [SIZES["compact"], SIZES["small"], OWN_WIDTH], ids=["compact", "small", "own width"])
def test_the_int8_head_computes_what_its_own_weights_give_in_float32(size):
    _, head = random_head(size)
    tensors = tensors_of(head)
    fast, slow = Int8Head(head.manifest, tensors, kernels()), as_float32(head.manifest, tensors)
    for got, wanted in zip(fast.logits(rows(9)), slow.logits(rows(9)), strict=True):
        if wanted.shape[1] > 1:
            assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


@needs_kernels
def test_an_int8_head_gives_the_same_scores_alone_and_in_a_batch():
    _, head = random_head(OWN_WIDTH)
    fast = Int8Head(head.manifest, tensors_of(head), kernels())
    together = fast.logits(rows(9))
    for i, row in enumerate(rows(9)):
        alone = fast.logits([row])
        np.testing.assert_array_equal(alone[0][0], together[0][i])


@needs_kernels
def test_transitions_come_through_the_file_and_count_in_both_engines(tmp_path):
    _, head = random_head(SIZES["compact"])
    tags = len(head.manifest.tags)
    given = np.random.default_rng(0).normal(size=(tags + 1, tags)).astype(np.float32) * 3
    with_them = Float32Head(head.manifest, {**head.weights, "transitions": given})
    write_head(with_them, tmp_path / "int8")
    write_head(with_them, tmp_path / "float32", "float32")
    loaded = [load_head(tmp_path / name) for name in ("int8", "float32")]
    loaded.append(as_float32(head.manifest, tensors_of(with_them)))
    for one in loaded:
        np.testing.assert_array_equal(one._transitions, with_them._transitions)
    said = [row_of("a b c d", row.vectors[:4], [(0, 1), (2, 3), (4, 5), (6, 7)]) for row in rows(20)[3:]]
    assert [s.entities for s in with_them.predict(said)] != [s.entities for s in head.predict(said)]
    with pytest.raises(ValueError, match="transitions"):
        Float32Head(head.manifest, {**head.weights, "transitions": given[1:]})
    with pytest.raises(ValueError, match="transitions"):
        Float32Head(head.manifest, {**head.weights, "transitions": given * np.inf})


def test_how_tags_follow_each_other_is_learnt_only_where_it_helps():
    found = associations([[1, 2, 0], [1, 2, 0], [0, 0]], 3)
    assert found[1, 2] > found[1, 0] and found[3, 1] > found[2, 1]
    unsure = np.log(np.array([[0.1, 0.8, 0.1], [0.45, 0.1, 0.45], [0.8, 0.1, 0.1]], np.float32))
    names = ("O", "B-x", "I-x")
    helped, hurt = (likelihoods(found, [(unsure, path)], names) for path in ([1, 2, 0], [1, 0, 0]))
    assert helped == sorted(helped) and hurt == sorted(hurt, reverse=True)
    every = sum(np.exp(log_likelihood(unsure, legal_transitions(found, names), path))
                for path in itertools.product(range(3), repeat=3) if is_legal(path, names))
    assert every == pytest.approx(1, abs=1e-5)


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
    load_head(tmp_path)
    hurt(tmp_path)
    with pytest.raises(BadHead, match=r"^head\.(json|safetensors)\b") as refused:
        load_head(tmp_path)
    assert str(tmp_path) not in str(refused.value)  # callers get this text


def test_spaces_must_be_the_same():
    check_space("a", "a")
    with pytest.raises(WrongSpace, match="train the head again"):
        check_space("a", "b")
