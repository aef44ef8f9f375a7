"""The head store: no name, link or file leaves it, and none ends a worker."""

import asyncio
import hashlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from head_worker.architecture import Architecture
from head_worker.cache import HeadCache
from head_worker.copies import Copies
from head_worker.float32 import Float32Head
from head_worker.int8 import tensors_of
from head_worker.load import load_head
from head_worker.store import HeadStore, open_store
from topology.errors import BadHead, HeadUnavailable, Misconfigured
from topology.heads import HeadManifest
from topology.native.kernels import kernels
from topology.native.tensors import to_bytes
from topology.pacing import PACING
from topology.registry import HeadRecord
from topology.settings import Heads

SOON = replace(PACING, head_load_s=0.3, head_refused_s=0.0, head_loaders=2, max_stuck_loads=3)


def write(folder, tenant, ring="en", version="v1"):
    """An int8 head with random weights; the record that announces it."""
    rng = np.random.default_rng(0)
    made_of = Architecture(hidden=64, width=64, ffn=64, pool=0, project=False, layer=True, intents=2, tags=1)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in made_of.tensors().items()}
    manifest = HeadManifest(tenant, ring, version, "space", 64, ("on", "off"), ("O",), "x", precision="int8")
    body = to_bytes(tensors_of(Float32Head(manifest, weights)))
    manifest = replace(manifest, sha256=hashlib.sha256(body).hexdigest())
    folder.mkdir(parents=True)
    (folder / "head.json").write_text(manifest.to_json())
    (folder / "head.safetensors").write_bytes(body)
    return HeadRecord(tenant, ring, version, "space", manifest.sha256)


def cache_of(store, records):
    cache = HeadCache("en", store, 1 << 20, pacing=SOON)
    for record in records:
        cache.apply("en", record.tenant, record)
    return cache


async def ask(cache, tenant):
    record = cache.record(tenant)
    return cache.resident(tenant, record.version) or await cache.load(tenant, record.version, record.sha256)


@pytest.mark.parametrize("names", [
    ("en", "/etc", "v"), ("en", "..", ".."), ("..", "a", "v"), ("en", "a", "../../x"), ("en", "a\0", "v"),
    ("en", ".", "v"),
    ("en", "a\\..\\b", "v"), ("en", "", "v"), ("en", "\ud800", "v"),
])
def test_a_name_that_leaves_the_store_is_refused_by_every_store(names, tmp_path):
    pytest.importorskip("fsspec")
    for place in (str(tmp_path / "store"), f"memory://store-{tmp_path.name}", f"file://{tmp_path}/store"):
        store = open_store(Heads(store=place), tmp_path / "copies")
        for ask_for in (store.folder, store.manifest):
            with pytest.raises(BadHead) as refused:
                ask_for(*names)
            assert str(tmp_path) not in str(refused.value)


@pytest.mark.parametrize("tenant", ["..", "/etc", "a/../..", "", "."])
def test_nothing_outside_the_store_is_deleted(tenant, tmp_path):
    pytest.importorskip("fsspec")
    (tmp_path / "precious").write_text("x")
    for place in (str(tmp_path / "store"), f"memory://store-{tmp_path.name}"):
        for ask_for in (open_store(Heads(store=place), tmp_path / "copies").delete, HeadStore(place).versions):
            with pytest.raises(BadHead):
                ask_for("en", tenant)
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("url", ["{}", "file://{}"])
@pytest.mark.parametrize("linked", ["tenant", "version", "file"])
def test_a_link_out_of_the_store_is_refused(tmp_path, linked, url):
    write(tmp_path / "outside" / "acme" / "v1", "acme")
    root = tmp_path / "store"
    place = {"tenant": root / "en" / "acme", "version": root / "en" / "acme" / "v1"}.get(linked)
    if place is None:
        place = root / "en" / "acme" / "v1" / "head.safetensors"
        place.parent.mkdir(parents=True)
        (place.parent / "head.json").write_bytes((tmp_path / "outside/acme/v1/head.json").read_bytes())
        target = tmp_path / "outside" / "acme" / "v1" / "head.safetensors"
    else:
        target = tmp_path / "outside" / "acme" / ("v1" if linked == "version" else "")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    with pytest.raises(BadHead):
        load_head(open_store(Heads(store=url.format(root)), tmp_path / "copies").folder("en", "acme", "v1"))


def test_a_root_that_is_itself_a_link_is_no_way_out(tmp_path):
    write(tmp_path / "real" / "en" / "acme" / "v1", "acme")
    (tmp_path / "store").symlink_to(tmp_path / "real")
    assert load_head(open_store(Heads(store=str(tmp_path / "store")), tmp_path / "c").folder("en", "acme", "v1"))


@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
@pytest.mark.parametrize("copies", [True, False])
async def test_a_pipe_in_place_of_a_file_is_refused_at_once_and_no_path_is_told(tmp_path, name, copies):
    root = tmp_path / "store"
    record = write(root / "en" / "acme" / "v1", "acme")
    (root / "en" / "acme" / "v1" / name).unlink()
    os.mkfifo(root / "en" / "acme" / "v1" / name)
    cache = cache_of(HeadStore(root, Copies(tmp_path / "copies", 1 << 30) if copies else None), [record])
    async with asyncio.timeout(30):
        with pytest.raises(BadHead, match=f"'acme', version 'v1': {name} is no regular file") as refused:
            await ask(cache, "acme")
    assert str(tmp_path) not in str(refused.value)


class Hung:
    """A store whose files of some tenants do not come until `come` is set."""

    def __init__(self, root, tenants):
        self._store, self._tenants, self.come, self.asked = HeadStore(root), tenants, threading.Event(), 0

    def folder(self, ring, tenant, version):
        if tenant in self._tenants:
            self.asked += 1
            assert self.come.wait(60)
        return self._store.folder(ring, tenant, version)

    def forget(self, *names):
        self._store.forget(*names)


async def test_a_head_whose_files_do_not_come_costs_only_its_own_callers(tmp_path):
    tenants = ["stuck", *"abcdef"]
    records = [write(tmp_path / "en" / tenant / "v1", tenant) for tenant in tenants]
    store = Hung(tmp_path, {"stuck"})
    cache = cache_of(store, records)
    waiting = [asyncio.ensure_future(ask(cache, "stuck")) for _ in range(3)]
    for tenant in "abcdef":
        assert await ask(cache, tenant)
        assert not any(one.done() for one in waiting) or tenant != "a"
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, HeadUnavailable) and "'stuck'" in str(error) for error in told)
    for _ in range(5):  # it is not tried again while its thread hangs
        with pytest.raises(HeadUnavailable, match="still do not come"):
            await ask(cache, "stuck")
    assert (store.asked, cache.stats()["stuck_loads"]) == (1, 1)
    store.come.set()
    end = time.monotonic() + 30
    while cache.stats()["stuck_loads"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    assert await ask(cache, "stuck")


async def test_where_all_loads_hang_the_threads_are_bounded_and_callers_are_told_why(tmp_path):
    tenants = [f"t{number}" for number in range(12)]
    records = [write(tmp_path / "en" / tenant / "v1", tenant) for tenant in tenants]
    store = Hung(tmp_path, set(tenants))
    cache = cache_of(store, records)
    try:
        async with asyncio.timeout(60):
            told = await asyncio.gather(*(ask(cache, tenant) for tenant in tenants), return_exceptions=True)
            assert all(isinstance(error, HeadUnavailable) for error in told)
            assert [str(error) for error in told if "too many" in str(error)]
            for tenant in tenants:
                with pytest.raises(HeadUnavailable):
                    await ask(cache, tenant)
        with pytest.raises(HeadUnavailable, match="other heads"):
            await ask(cache, tenants[-1])
        assert store.asked <= SOON.max_stuck_loads + SOON.head_loaders
    finally:
        store.come.set()


PROCESS = """
import asyncio, sys, threading
from dataclasses import replace
from pathlib import Path
from head_worker.cache import HeadCache
from topology.errors import HeadUnavailable
from topology.pacing import PACING
from topology.registry import HeadRecord

class Hung:
    def folder(self, *names): threading.Event().wait()

async def main():
    cache = HeadCache("en", Hung(), 1 << 20, pacing=replace(PACING, head_load_s=0.1))
    cache.apply("en", "a", HeadRecord("a", "en", "v1", "s", "x"))
    try:
        await cache.load("a", "v1", "x")
    except HeadUnavailable:
        print("told", flush=True)

asyncio.run(main())
"""


def test_a_hung_load_does_not_keep_the_process():
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


CUT = """
import sys
from pathlib import Path
import numpy as np
from head_worker.engine import TokenVectors
from head_worker.load import load_head
from head_worker.store import open_store
from topology.settings import Heads
head = load_head(open_store(Heads(store=sys.argv[1]), Path(sys.argv[2])).folder("en", "acme", "v1"))
with open(Path(sys.argv[1]) / "en/acme/v1/head.safetensors", "r+b") as file:
    file.truncate(0)
row = TokenVectors("on", np.ones((3, 64), np.int8), np.ones(3, np.float32), np.zeros((3, 2), np.int32))
print(head.predict([row])[0].intent)
"""


@pytest.mark.skipif(kernels() is None, reason="no kernels: heads are read, not mapped")
def test_a_head_file_that_is_cut_short_in_place_while_it_answers_ends_nobody(tmp_path):
    write(tmp_path / "store" / "en" / "acme" / "v1", "acme")
    arguments = [sys.executable, "-c", CUT, str(tmp_path / "store"), str(tmp_path / "copies")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("on", "off")


async def test_a_copy_that_is_bad_is_taken_again_once_the_store_has_a_good_file(tmp_path):
    root = tmp_path / "store"
    record = write(root / "en" / "acme" / "v1", "acme")
    place = root / "en" / "acme" / "v1" / "head.safetensors"
    good = place.read_bytes()
    place.write_bytes(good[:-9])
    cache = cache_of(open_store(Heads(store=str(root)), tmp_path / "copies"), [record])
    with pytest.raises(BadHead, match="sha256"):
        await ask(cache, "acme")
    place.write_bytes(good)
    assert await ask(cache, "acme")


async def test_a_successor_that_could_not_be_loaded_is_tried_again(tmp_path):
    first, second = (write(tmp_path / "en" / "acme" / version, "acme", version=version) for version in ("v1", "v2"))
    cache = cache_of(HeadStore(tmp_path), [first])
    await ask(cache, "acme")
    (tmp_path / "en" / "acme" / "v2").rename(tmp_path / "away")
    cache.apply("en", "acme", second)
    await asyncio.gather(*cache._loading.values(), return_exceptions=True)
    (tmp_path / "away").rename(tmp_path / "en" / "acme" / "v2")
    assert cache.resident("acme", "v1")
    await asyncio.gather(*cache._loading.values())
    assert cache.record("acme").version == "v2"


def test_a_head_larger_than_one_may_be_is_refused_unread(tmp_path):
    write(tmp_path / "acme", "acme")
    with (tmp_path / "acme" / "head.safetensors").open("r+b") as file:
        file.truncate((PACING.max_head_mb << 20) + 1)  # sparse: it takes no disk
    with pytest.raises(BadHead, match=f"limit is {PACING.max_head_mb} MB"):
        load_head(tmp_path / "acme")


def test_a_place_for_copies_that_cannot_be_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Misconfigured, match="state_dir"):
        open_store(Heads(store=str(tmp_path)), tmp_path / "file" / "heads-cache")
