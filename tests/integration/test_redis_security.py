"""A Redis with TLS and an ACL: what signs on, and what is told where it does not. Kafka's half is in tests/kafka."""

import asyncio
from dataclasses import replace

import pytest

from infra.stack import embedded
from tests import certificates
from tests.secured import REDIS_PASSWORD, secured
from topology.errors import Misconfigured
from topology.settings import Cache, parse
from topology.stream.embedding_cache import CachedEmbedding, EmbeddingCache
from topology.stream.replies import ReplyReader
from topology.stream.sign_on import why_redis_is_away

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not certificates.AVAILABLE, reason="left out: there is no openssl to make certificates"),
]
RING = '\n[rings.en]\nlanguages = ["en"]\nencoder = "x"\n'


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    home = tmp_path_factory.mktemp("servers")
    with secured(home, kafka_too=False) as found:
        (home / "wrong.password").write_text("not it")
        certificates.authority(home, "other")
        yield found


def redis_of(servers, **changes):
    return parse(servers.config(broker__tls__key_password=None, **changes) + RING).redis


async def test_replies_and_the_embedding_cache_sign_on(servers):
    settings = redis_of(servers)
    reader = ReplyReader(settings, "x", "client")
    cache = EmbeddingCache(settings, Cache(), "x", "en", "v1")
    entry = CachedEmbedding(1, 2, b"\1\2", b"\0" * 4, b"\0" * 8, False)
    try:
        await reader.ping()
        async with asyncio.timeout(60):  # a slow answer counts as a miss: asked again
            while await cache.get(["on"]) != {"on": entry}:
                cache.put({"on": entry})
                await asyncio.sleep(0.05)
    finally:
        await reader.close()
        await cache.close()


@pytest.mark.parametrize(("changes", "told"), [
    ({"redis__password": "file:{home}/wrong.password"}, r"redis\.user, redis\.password: "),
    ({"redis__user": None, "redis__password": None}, r"redis\.user, redis\.password: "),
    ({"redis__tls__ca": "{home}/other.pem"}, r"redis\.tls\.ca: .*not trusted"),
    ({"redis__url": "{localhost_url}"}, r"redis\.tls\.check_hostname: "),
    ({"redis__url": "{plain_url}", "redis__tls__ca": None}, r"redis\.url: .*speaks TLS"),
])
async def test_who_is_not_let_in_is_told_which_setting_is_wrong(servers, changes, told):
    known = {
        "home": servers.home, "localhost_url": servers.redis_url.replace("127.0.0.1", "localhost"),
        "plain_url": servers.redis_url.replace("rediss", "redis"),
    }
    settings = redis_of(servers, **{name: value and value.format(**known) for name, value in changes.items()})
    with pytest.raises(Misconfigured, match=told) as found:
        await why_redis_is_away(settings)
    assert REDIS_PASSWORD not in str(found.value) and "not it" not in str(found.value)


async def test_a_redis_that_is_away_is_no_mistake(servers):
    settings = replace(redis_of(servers), url=f"rediss://127.0.0.1:{embedded.free_port()}/0")
    assert "does not answer" in await why_redis_is_away(settings)
