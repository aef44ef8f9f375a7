"""Releases beside each other on Apache Kafka, under load from a client of each: forward, and back.

Nothing is lost, nothing is answered or computed twice, and what is answered is what one release alone answers. Records
of both releases are in flight all the time.
"""

import re
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
    pytest.mark.timeout(420),
    pytest.mark.skipif(not kafka.available(), reason="left out: Java 17 and Maven are not on this machine"),
]
FORWARD = ("heads", "encoders")  # readers before writers: docs/UPGRADES.md
ORDERS = [(forward, back) for forward, back in product([FORWARD, FORWARD[::-1]], repeat=2)]


async def roll_all(installation, roles, release, after_first=None):
    """Every worker of these roles, one at a time. `after_first`: called when one head worker of two is rolled."""
    for role in roles:
        for number, worker in enumerate(installation.workers(role)):
            await installation.roll(worker, release)
            if role == "heads" and not number and after_first is not None:
                await after_first()


async def check(installation, asked, replies, expected):
    """Every id has its reply, once, with what is expected; the logs have no error."""
    settings = installation.settings
    wrong = {one: replies[one] for one in asked if "error" in replies.get(one, {"error": "none"})}
    assert not wrong, f"{len(wrong)} of {len(asked)}: {list(wrong.items())[:3]}"
    for one in asked:
        reply = replies[one]
        assert content(reply) == expected[reply["tenant"], reply["text"]], reply
    for topic in (topics.embeddings(settings.prefix, "en", "a"), topics.predictions(settings.prefix, "en", "a")):
        count = Counter(body["id"] for body, _ in await installation.bodies(topic))
        assert {one: count[one] for one in asked if count[one] != 1} == {}, topic
    assert await installation.bodies(topics.dead_letters(settings.prefix)) == []
    for worker in (*installation.workers("heads"), *installation.workers("encoders")):
        bad = re.findall(r"^.* (?:ERROR|CRITICAL) .*$|^Traceback.*$", worker.log.read_text(), re.MULTILINE)
        assert bad == [], worker.name


async def versions(installation, role):
    """The releases that a role's commits tell of."""
    settings = installation.settings
    group, topic = {
        "heads": (topics.head_group(settings.prefix, "en", "a"), topics.embeddings(settings.prefix, "en", "a")),
        "encoders": (topics.encoder_group(settings.prefix, "en"), topics.utterances(settings.prefix, "en")),
    }[role]
    (state,) = await read_groups(settings.broker, {group: topic})
    return {version: len(workers) for version, workers in releases_of(state).items()}


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with installed(home, {"next": releases.next_release(home)}) as one:
        yield one


async def test_workers_are_rolled_to_the_next_release_and_back_under_load_and_nobody_notices(installation):
    expected = await installation.answers()
    settings, mixed = installation.settings, {}

    async def publish_and_look():
        installation.publish("next", "v2")  # its head.json and registry record have fields that are not known here
        mixed.update(await versions(installation, "heads"))

    async def there_and_back():
        await roll_all(installation, FORWARD, "next", publish_and_look)
        assert await versions(installation, "encoders") == {releases.NEXT: 2}
        await roll_all(installation, FORWARD[::-1], "here")

    asked, replies = await installation.under_load(["here", "next"], there_and_back)
    print(f"{len(asked)} asked; longest without a worker: {installation.took_s}")
    await check(installation, asked, replies, expected)
    assert mixed == {releases.VERSION: 1, releases.NEXT: 1}, "one head worker of each while a head was published"
    assert {replies[one]["head_version"] for one in asked} == {"v1", "v2"}
    assert {replies[one].get("channel") for one in asked if one.startswith("next-")} == {"", "phone"}
    for topic in (topics.utterances(settings.prefix, "en"), topics.embeddings(settings.prefix, "en", "a"),
                  topics.predictions(settings.prefix, "en", "a")):
        written = Counter(("channel" in body, "headrace.next" in headers)
                          for body, headers in await installation.bodies(topic))
        assert set(written) == {(True, True), (False, False)}, topic
        assert min(written.values()) > len(TENANTS), f"records of both releases: {topic}, {written}"
