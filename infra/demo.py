"""`headrace demo`: six tenants in five languages, two rings, real weights and real data, on this machine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from head_worker.store import HeadStore
from infra.announce import announce
from infra.assets.datasets import atis, first_label, home_assistant
from infra.assets.weights import encoder_directory
from infra.many_heads import Order, Several, train_many
from infra.stack.supervise import Supervisor
from infra.stack.up import stack
from infra.training.examples import Example
from infra.training.fit import Target
from infra.training.recipe import Recipe
from producers import Headrace
from topology.addresses import load_placed
from topology.encoders import cache_dir, find_encoder, space_of
from topology.errors import BadHead, HeadraceError, Misconfigured, UnknownTenant
from topology.settings import Settings

CONFIG = """\
[heads]
store = "heads"
[rings.en]
languages = ["en"]
encoder = "minilm-l6"
[rings.en.cells.a]
[rings.multi]
languages = ["fr", "de", "es", "zh"]
encoder = "e5-small"
[rings.multi.cells.a]
"""
TENANTS = {  # tenant: (ring, language)
    "airline": ("en", "en"), "home-en": ("en", "en"), "maison": ("multi", "fr"), "zuhause": ("multi", "de"),
    "casa": ("multi", "es"), "jia": ("multi", "zh"),
}
EXAMPLES, UNSEEN, SHOWN = 2_000, 300, 2
RECIPE = Recipe(epochs=12, rate=2e-3)  # half the epochs that training takes by itself, at twice the rate
REGISTRY_S = 30.0


def examples_of(tenant: str) -> tuple[list[Example], list[Example]]:
    """(to train on, unseen) of one demo tenant: ATIS for the airline, else Home Assistant in its language."""
    if tenant == "airline":
        train, unseen = atis("train")[:EXAMPLES], atis("test")
        return [_plain(one) for one in train], [_plain(one) for one in unseen]
    found = home_assistant(TENANTS[tenant][1], EXAMPLES + UNSEEN, 0)
    random.Random(0).shuffle(found)  # they come evenly by intent until some are exhausted
    return found[UNSEEN:], found[:UNSEEN]


def _plain(example: Example) -> Example:
    """Of several intents in one utterance, the first."""
    return replace(example, intent=first_label(example.intent))


@contextmanager
def running() -> Iterator[tuple[Path, Settings, Supervisor]]:
    """The demo's stack, with the heads of every tenant announced: (headrace.toml, settings, supervisor)."""
    home = cache_dir() / "demo"
    home.mkdir(parents=True, exist_ok=True)
    config = home / "headrace.toml"
    config.write_text(CONFIG)
    for name in ("minilm-l6", "e5-small"):
        encoder_directory(name, cache_dir() / "encoders")
    _train_missing(load_placed(config), home)
    with stack(config) as (settings, supervisor):
        asyncio.run(_announce_all(settings))
        yield config, settings, supervisor


def _train_missing(settings: Settings, home: Path) -> None:
    """Each tenant's head, scored on lines that it has not seen."""
    store = HeadStore(settings.heads.store)
    for name, ring in settings.rings.items():
        missing = [one for one, (own, _) in TENANTS.items() if own == name and not _has_head(settings, store, one)]
        if not missing:
            continue
        print(f"training {', '.join(missing)} ({name}) …", flush=True)
        several = Several(len(missing))
        for line in train_many(settings, ring, [(one, partial(_order, one, home)) for one in missing], RECIPE, several):
            print(f"  {line}", flush=True)
        if several.failed:
            raise Misconfigured(f"the demo's heads of {', '.join(several.failed)} were not trained")
        for one in missing:
            store.put(home / "new" / one)


def _has_head(settings: Settings, store: HeadStore, tenant: str) -> bool:
    ring = TENANTS[tenant][0]
    directory, versions = find_encoder(settings.rings[ring].encoder), store.versions(ring, tenant)
    if directory is None or not versions:
        return False
    try:
        return store.manifest(ring, tenant, versions[-1]).space == space_of(directory, settings.limits.max_tokens)
    except BadHead as error:
        print(f"{error}; training it again")
        return False


def _order(tenant: str, home: Path) -> Order:
    train, unseen = examples_of(tenant)
    return Order(tenant, train, None, unseen, home / "new" / tenant, Target("", "", ""))


async def _announce_all(settings: Settings) -> None:
    store = HeadStore(settings.heads.store)
    for tenant, (ring, _) in TENANTS.items():
        await announce(settings, store.manifest(ring, tenant, store.versions(ring, tenant)[-1]))


def utterances() -> list[tuple[str, str, str | None]]:
    """(tenant, text, language tag or None) for the table; every second one has no tag."""
    found: list[tuple[str, str, str | None]] = []
    for tenant, (_, lang) in TENANTS.items():
        unseen = examples_of(tenant)[1][:SHOWN]
        found += [(tenant, one.text, lang if i % 2 == 0 else None) for i, one in enumerate(unseen)]
    return found


async def show(settings: Settings, asked: Sequence[tuple[str, str, str | None]] = ()) -> None:
    """Send the utterances through the pipeline and print the table."""
    table = Table("utterance", "ring", "tenant", "intent", "entities", "ms: wait, encode, head, reply, total")
    async with Headrace(settings) as client:
        for tenant, text, lang in asked or utterances():
            table.add_row(text, *await _row(client, tenant, text, lang))
    Console(width=None if Console().is_terminal else 160).print(table)


async def _row(client: Headrace, tenant: str, text: str, lang: str | None) -> list[str]:
    end = asyncio.get_running_loop().time() + REGISTRY_S
    while True:
        try:
            reply = await client.predict(tenant, text, lang=lang)
            break
        except UnknownTenant as error:
            # Right after the announcement a worker may not have read it yet; later it is a wrong language guess.
            if lang is None or asyncio.get_running_loop().time() > end:
                return ["", tenant, f"{error.code}", "", ""]
        except HeadraceError as error:
            return ["", tenant, f"{error.code}", "", ""]
    spans = ", ".join(f"{e.label}: {e.text} [{e.start}:{e.end}]" for e in reply.entities)
    sure = f"{reply.intent} {reply.confidence:.0%}" + (" (out of scope)" if reply.out_of_scope else "")
    return [reply.ring, tenant, sure, spans, " ".join(f"{ms:.0f}" for ms in reply.times_ms.values())]


