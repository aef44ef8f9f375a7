"""Heads in memory within a byte budget."""

import asyncio
import hashlib

import numpy as np
import pytest
from safetensors.numpy import save

from head_worker.architecture import Architecture
from head_worker.cache import HeadCache
from head_worker.store import HeadStore
from topology.errors import BadHead, UnknownTenant
from topology.heads import HeadManifest
from topology.registry import HeadRecord


def put(root, tenant, version="v1"):
    """A stored head with random weights, and the registry record that announces it."""
    rng = np.random.default_rng(0)
    made_of = Architecture(hidden=8, width=8, ffn=16, pool=0, project=False, layer=True, intents=2, tags=1)
    body = save({n: rng.normal(size=s).astype(np.float32) for n, s in made_of.tensors().items()})
    sha256 = hashlib.sha256(body).hexdigest()
    manifest = HeadManifest(tenant, "en", version, "space", 8, ("on", "off"), ("O",), sha256)
    folder = HeadStore(root).folder("en", tenant, version)
    folder.mkdir(parents=True)
    (folder / "head.safetensors").write_bytes(body)
    (folder / "head.json").write_text(manifest.to_json())
    return HeadRecord(tenant, "en", version, "space", sha256)


def cache_with(root, tenants, budget=1 << 20):
    cache = HeadCache("en", HeadStore(root), budget)
    for tenant in tenants:
        cache.apply("en", tenant, put(root, tenant))
    return cache


async def test_the_least_recently_used_head_leaves_when_the_budget_is_full(tmp_path):
    size = (await cache_with(tmp_path / "one", ["x"]).load("x")).nbytes
    cache = cache_with(tmp_path, ["a", "b", "c"], budget=2 * size)
    await cache.load("a")
    await cache.load("b")
    assert cache.resident("a") is not None  # used again: b is now the older
    await cache.load("c")
    assert [cache.resident(t) is not None for t in "abc"] == [True, False, True]
    assert cache.nbytes <= 2 * size


async def test_callers_at_the_same_time_share_one_load(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    first, second = await asyncio.gather(cache.load("a"), cache.load("a"))
    assert first is second


async def test_a_retracted_head_is_an_unknown_tenant(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    await cache.load("a")
    cache.apply("en", "a", None)
    with pytest.raises(UnknownTenant):
        cache.resident("a")


async def test_a_damaged_successor_leaves_the_old_version_answering(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    old = await cache.load("a")
    record = put(tmp_path, "a", "v2")
    (HeadStore(tmp_path).folder("en", "a", "v2") / "head.safetensors").write_bytes(b"torn")
    cache.apply("en", "a", record)
    for task in list(cache._loading.values()):
        with pytest.raises(BadHead, match="sha256"):
            await task
    assert cache.resident("a") is old
