"""Releases beside each other on Apache Kafka, under load from a client of each: forward, and back.

Nothing is lost, nothing is answered or computed twice, and what is answered is what one release alone answers. Records
of both releases are in flight all the time.
"""

import asyncio
import re
import signal
from collections import Counter
from itertools import product

import pytest

pytest.importorskip("torch")

from infra.stack import kafka
from infra.status import releases as releases_of
from tests import releases
from tests.rolling import TENANTS, content, installed
from topology import topics
from topology.stream.groups import read_groups

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
FORWARD = ("heads", "encoders")  # readers before writers: docs/UPGRADES.md
EARLIER = {
    "cb0f57a": "before predictions had `utterance_id`, and commits notes",
    "752bdc2": "before unknown fields were left out everywhere",
}
ORDERS = [(forward, back) for forward, back in product([FORWARD, FORWARD[::-1]], repeat=2)]


async def roll_all(installation, roles, release, after_first=None, number=signal.SIGTERM):
    """Every worker of these roles, one at a time. `after_first`: called when one head worker of two is rolled."""
    for role in roles:
        for worker in installation.workers(role):
            await installation.roll(worker, release, number)
            if worker is installation.workers("heads")[0] and after_first is not None:
                await after_first()


async def check(installation, asked, replies, expected, most=1):
    """Every id has its reply with what is expected, and is `most` times on the topics; the logs have no error."""
    settings = installation.settings
    wrong = {one: replies[one] for one in asked if "error" in replies.get(one, {"error": "none"})}
    assert not wrong, f"{len(wrong)} of {len(asked)}: {list(wrong.items())[:3]}"
    for one in asked:
        reply = replies[one]
        assert content(reply) == expected[reply["tenant"], reply["text"]], reply
    for topic in (topics.embeddings(settings.prefix, "en", "a"), topics.predictions(settings.prefix, "en", "a")):
        count = Counter(body["id"] for body, _ in await installation.bodies(topic))
        assert {one: count[one] for one in asked if not 1 <= count[one] <= most} == {}, topic
    assert await installation.bodies(topics.dead_letters(settings.prefix)) == []
    for worker in (*installation.workers("heads"), *installation.workers("encoders")):
        bad = re.findall(r"^.* (?:ERROR|CRITICAL) .*$|^Traceback.*$", worker.log.read_text(), re.MULTILINE)
        assert bad == [], worker.name


async def told(installation, role, wanted):
    """Until a role's commits, once a second, tell of so many workers of each release."""
    settings = installation.settings
    group, topic = {
        "heads": (topics.head_group(settings.prefix, "en", "a"), topics.embeddings(settings.prefix, "en", "a")),
        "encoders": (topics.encoder_group(settings.prefix, "en"), topics.utterances(settings.prefix, "en")),
    }[role]
    async with asyncio.timeout(90):
        while True:
            (state,) = await read_groups(settings.broker, {group: topic})
            if {version: len(workers) for version, workers in releases_of(state).items()} == wanted:
                return
            await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    trees = {commit: releases.earlier_release(home, commit) for commit in EARLIER if releases.has_commit(commit)}
    with installed(home, {"next": releases.next_release(home), **trees}) as one:
        yield one


async def test_workers_are_rolled_to_the_next_release_and_back_under_load_and_nobody_notices(installation):
    expected = await installation.answers()
    settings = installation.settings

    async def publish_and_look():
        await told(installation, "heads", {releases.VERSION: 1, releases.NEXT: 1})
        # Its head.json and registry record have fields that are not known here.
        await asyncio.to_thread(installation.publish, "next", "v2")

    async def there_and_back():
        await roll_all(installation, FORWARD, "next", publish_and_look)
        await told(installation, "encoders", {releases.NEXT: 2})
        await roll_all(installation, FORWARD[::-1], "here")

    asked, replies = await installation.under_load(["here", "next"], there_and_back)
    print(f"{len(asked)} asked; longest without a worker: {installation.took_s}")
    await check(installation, asked, replies, expected)
    assert {replies[one]["head_version"] for one in asked} == {"v1", "v2"}
    assert {replies[one].get("channel") for one in asked if one.startswith("next-")} == {"", "phone"}
    for topic in (topics.utterances(settings.prefix, "en"), topics.embeddings(settings.prefix, "en", "a"),
                  topics.predictions(settings.prefix, "en", "a")):
        written = Counter(("channel" in body, "headrace.next" in headers)
                          for body, headers in await installation.bodies(topic))
        assert set(written) == {(True, True), (False, False)}, topic
        assert min(written.values()) > len(TENANTS), f"records of both releases: {topic}, {written}"


def named(installation, release):
    """Leaves the test out, by name, where this checkout has no such commit."""
    if release not in installation.trees:
        pytest.skip(f"left out: this checkout's history does not have {release} ({EARLIER[release]})")
    return release


@pytest.mark.long
@pytest.mark.parametrize(("forward", "back"), ORDERS, ids=lambda roles: "-".join(roles))
@pytest.mark.parametrize(("before", "after"), [("cb0f57a", "here"), ("752bdc2", "here"), ("here", "next")])
async def test_roles_are_rolled_in_any_order_between_any_neighbors(installation, before, after, forward, back):
    before, after = named(installation, before), named(installation, after)
    expected = await installation.answers()
    await roll_all(installation, FORWARD, before)

    async def there_and_back():
        await roll_all(installation, forward, after)
        await roll_all(installation, back, before)

    asked, replies = await installation.under_load([before, after], there_and_back)
    await check(installation, asked, replies, expected)


@pytest.mark.long
async def test_workers_killed_in_mid_roll_lose_nothing(installation):
    await roll_all(installation, FORWARD, "here")
    expected = await installation.answers()

    async def there_and_back():
        await roll_all(installation, FORWARD, "next", number=signal.SIGKILL)
        await roll_all(installation, FORWARD[::-1], "here", number=signal.SIGKILL)

    asked, replies = await installation.under_load(["here", "next"], there_and_back)
    await check(installation, asked, replies, expected, most=4)
