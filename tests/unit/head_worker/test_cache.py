"""Heads in memory within a byte budget."""

import asyncio
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from head_worker.architecture import Architecture
from head_worker.cache import HeadCache
from head_worker.copies import Copies
from head_worker.load import load_head
from head_worker.store import HeadStore, RemoteStore, open_store
from topology.errors import BadHead, UnknownTenant
from topology.heads import HeadManifest
from topology.registry import HeadRecord
from topology.settings import Heads


def put(root, tenant, version="v1", space="space"):
    """A stored head with random weights, and the registry record that announces it."""
    rng = np.random.default_rng(0)
    made_of = Architecture(hidden=8, width=8, ffn=16, pool=0, project=False, layer=True, intents=2, tags=1)
    body = save({n: rng.normal(size=s).astype(np.float32) for n, s in made_of.tensors().items()})
    sha256 = hashlib.sha256(body).hexdigest()
    manifest = HeadManifest(tenant, "en", version, space, 8, ("on", "off"), ("O",), sha256)
    folder = HeadStore(root).folder("en", tenant, version)
    folder.mkdir(parents=True)
    (folder / "head.safetensors").write_bytes(body)
    (folder / "head.json").write_text(manifest.to_json())
    return HeadRecord(tenant, "en", version, space, sha256)


def cache_with(root, tenants, budget=1 << 20, pinned=()):
    cache = HeadCache("en", HeadStore(root), budget, pinned)
    for tenant in tenants:
        cache.apply("en", tenant, put(root, tenant))
    return cache


async def ask(cache, tenant):
    """What a worker does: take what is there, else load it. True where it was there."""
    record = cache.record(tenant)
    if cache.resident(tenant, record.version) is not None:
        return True
    await cache.load(tenant, record.version, record.sha256)
    return False


def stays(cache, tenants):
    return [(t, "v1") in cache._loaded for t in tenants]


async def test_a_head_that_is_asked_for_more_often_takes_the_place_of_one_that_is_not(tmp_path):
    cache = cache_with(tmp_path / "one", ["x"])
    await ask(cache, "x")
    size = cache.nbytes
    cache = cache_with(tmp_path, ["a", "b", "c"], budget=2 * size)
    for tenant in "abbcc":
        await ask(cache, tenant)
    assert stays(cache, "abc") == [False, True, True]
    assert cache.nbytes == 2 * size
    assert cache.stats()["evictions"] == 1


@pytest.mark.parametrize("rounds", [1, 3])
async def test_a_scan_over_more_tenants_than_there_is_room_for_leaves_the_warm_ones_warm(tmp_path, rounds):
    warm, cold = [f"warm{i}" for i in range(4)], [f"cold{i}" for i in range(30)]
    cache = cache_with(tmp_path, warm + cold)
    await ask(cache, warm[0])
    cache._budget = 4 * cache.nbytes
    for tenant in warm * 3:
        await ask(cache, tenant)
    misses = 0
    for _ in range(rounds):
        for i, tenant in enumerate(cold):
            await ask(cache, tenant)
            misses += not await ask(cache, warm[i % 4])
    assert misses == 0
    assert stays(cache, warm) == [True] * 4


async def test_a_pinned_head_never_leaves(tmp_path):
    cache = cache_with(tmp_path, ["vip", *"abcdef"], pinned=["vip"])
    await ask(cache, "vip")
    cache._budget = 2 * cache.nbytes
    for tenant in "abcdef" * 5:
        await ask(cache, tenant)
    assert stays(cache, ["vip"]) == [True]
    assert cache.nbytes <= cache._budget


async def test_a_pinned_head_gets_in_where_all_others_are_asked_for_more(tmp_path):
    cache = cache_with(tmp_path, ["vip", "a"], pinned=["vip"])
    await ask(cache, "a")
    cache._budget = cache.nbytes
    for _ in range(9):
        await ask(cache, "a")
    await ask(cache, "vip")
    assert stays(cache, ["vip", "a"]) == [True, False]


async def test_callers_at_the_same_time_share_one_load(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    sha256 = cache.record("a").sha256
    first, second = await asyncio.gather(cache.load("a", "v1", sha256), cache.load("a", "v1", sha256))
    assert first is second
    assert cache.stats()["loads"] == 1


async def test_a_retracted_head_is_an_unknown_tenant(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    await ask(cache, "a")
    cache.apply("en", "a", None)
    assert cache.nbytes == 0
    with pytest.raises(UnknownTenant):
        cache.record("a")


async def test_the_old_version_scores_until_the_new_one_is_loaded(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    await ask(cache, "a")
    cache.apply("en", "a", put(tmp_path, "a", "v2"))
    assert cache.record("a").version == "v1"
    await asyncio.gather(*cache._loading.values())
    assert cache.record("a").version == "v2"
    assert await ask(cache, "a")
    assert len(cache._loaded) == 1


async def test_a_damaged_successor_leaves_the_old_version_scoring(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    await ask(cache, "a")
    record = put(tmp_path, "a", "v2")
    (HeadStore(tmp_path).folder("en", "a", "v2") / "head.safetensors").write_bytes(b"torn")
    cache.apply("en", "a", record)
    for task in list(cache._loading.values()):
        with pytest.raises(BadHead, match="sha256"):
            await task
    assert cache.record("a").version == "v1"
    assert await ask(cache, "a")


async def test_a_version_of_another_space_replaces_nothing_for_embeddings_of_the_old_one(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    await ask(cache, "a")
    cache.apply("en", "a", replace(put(tmp_path, "a", "v2"), space="new"))
    await asyncio.gather(*cache._loading.values())
    assert cache.record_for("a", "space").version == "v1"
    assert cache.record_for("a", "new").version == "v2"
    assert cache.record_for("a", "third").version == "v2"  # which is then refused by name


async def test_a_head_that_cannot_be_loaded_is_refused_by_name_and_not_tried_at_every_request(tmp_path):
    cache = cache_with(tmp_path, ["a"])
    (HeadStore(tmp_path).folder("en", "a", "v1") / "head.json").write_text("{")
    with pytest.raises(BadHead, match="JSON"):
        await ask(cache, "a")
    with pytest.raises(BadHead, match="JSON"):
        cache.resident("a", "v1")


def test_a_remote_store_fetches_what_is_asked_for_and_bounds_its_local_copies(tmp_path):
    pytest.importorskip("fsspec")
    origin, url = tmp_path / "origin", f"memory://heads-{tmp_path.name}"
    store = open_store(Heads(store=url, disk_mb=1), tmp_path / "cache")
    for tenant in "abc":
        put(origin, tenant)
        store.put(origin / "en" / tenant / "v1")
    assert store.versions("en", "a") == ["v1"]
    assert store.versions("en", "nobody") == []
    size = sum(f.stat().st_size for f in (origin / "en" / "a" / "v1").iterdir())
    reader = RemoteStore(url, Copies(tmp_path / "other", 2 * size))
    reader.folder("en", "a", "v1")
    for tenant in "bc":
        assert load_head(reader.folder("en", tenant, "v1")).manifest.tenant == tenant
    assert sorted(p.parent.parent.name for p in (tmp_path / "other").rglob("head.json")) == ["b", "c"]
    with pytest.raises(BadHead, match="not in the head store"):
        reader.folder("en", "nobody", "v1")
    reader.delete("en", "a")
    assert store.versions("en", "a") == []


async def test_the_way_back_from_a_head_of_another_space_leaves_no_moment_without_a_prediction(tmp_path):
    first, again, strange = put(tmp_path, "a"), put(tmp_path, "a", "v2"), put(tmp_path, "a", "v3", "elsewhere")
    cache = HeadCache("en", HeadStore(tmp_path), 1 << 20)
    for record in (first, again, strange, first):
        cache.apply("en", "a", record)
        assert cache.record_for("a", "space").space == "space"  # also while what was announced is being loaded
        await cache.load("a", record.version, record.sha256)
        assert cache.record_for("a", "space").version == (record.version if record is not strange else "v2")
