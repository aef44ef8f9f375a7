"""What headrace.toml may say and hardly means: named with its line, and no mistake by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from topology.encoders import find_encoder
from topology.sections import Settings


def doubts(settings: Settings, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(place, what) of each. `body`: the file as it stands, without defaults."""
    brokers = {"embedded": 1, "kafka": settings.broker.brokers}.get(settings.broker.kind)
    if brokers is not None and settings.topics.replication > brokers:
        yield "topics.replication", (f"{settings.topics.replication} replicas want as many brokers; kind = "
                                     f"{settings.broker.kind!r} has {brokers}")
    for name, ring in settings.rings.items():
        if "cells" not in body["rings"][name]:
            yield f"rings.{name}", f"no cell is described, so it has one, as [rings.{name}.cells.a] would make it"
        if ring.encoder and find_encoder(ring.encoder) is None:
            yield f"rings.{name}.encoder", (f"{ring.encoder!r} is no directory and is not prepared here: `headrace "
                                            "encoder fetch` prepares what it knows; else a worker asks the hub")
