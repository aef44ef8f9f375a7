"""What-if: two versions of one tenant's head over the same utterances. Nothing is written to any topic.

`heads` says which two, `reading` reads and scores, `comparison` counts, `page` shows.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.backfill.compare.comparison import VERSIONS
from infra.backfill.compare.heads import check_pair, choose, shown_names
from infra.backfill.compare.reading import Note, Passage, Replay, Watching
from infra.backfill.job import SOURCES, Asked
from infra.backfill.open import open_source
from infra.backfill.source import Source
from infra.backfill.worker import Encode, Score
from topology.encoders import find_encoder, space_of
from topology.heads import HeadManifest
from topology.pacing import PACING
from topology.settings import Ring, Settings
from topology.stream.bounded import BoundedReader


async def compare(
    settings: Settings, ring: Ring, typed: Sequence[str], asked: Asked, limit: int, note: Note,
    live: Watching | None = None,
) -> dict[str, Any]:
    """What page and JSON are made of. `typed`: the two heads. `asked`: source and bounds; its tenant is filled in.
    `live`: what it waits for while live traffic is late.

    Raises: Misconfigured, naming both heads where they do not go together; BadHead, Unavailable.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-compare-") as folder:
        pair = [await choose(settings, ring.name, one, Path(folder) / str(i)) for i, one in enumerate(typed)]
        encodes = asked.source != "embeddings"
        check_pair(pair, ring.name, _space(settings, ring) if encodes else "")
        tenant = pair[0].manifest.tenant
        asked = replace(asked, tenants=(tenant,), tenant=tenant)
        async with _started(settings, ring, asked) as source:
            spans = await source.spans(asked)
            before, after = (Score(one.settings, ring, [one.record]) for one in pair)
            encode = Encode(settings, ring) if encodes else None
            chunk = PACING.backfill_heads_chunk if encode is None else encode.chunk
            replay = Replay(source, Passage(encode, before, after), tenant, limit, chunk, note, live)
            await replay.run(spans)
    return told(replay, [one.manifest for one in pair], shown_names(pair), _bounds(asked))


def _space(settings: Settings, ring: Ring) -> str:
    """Empty where the encoder is on no disk here yet: each embedding's space is checked all the same."""
    directory = find_encoder(ring.encoder)
    return space_of(directory, settings.limits.max_tokens) if directory else ""


@contextlib.asynccontextmanager
async def _started(settings: Settings, ring: Ring, asked: Asked) -> AsyncIterator[Source]:
    reader = BoundedReader(settings.broker, None) if asked.source in SOURCES else None
    source = open_source(settings, ring, asked, reader)
    try:
        await source.start()
        yield source
    finally:
        await source.stop()


def _bounds(asked: Asked) -> str:
    return f"{asked.source}, {asked.start} to {asked.end}"


def told(replay: Replay, heads: Sequence[HeadManifest], names: Sequence[str], bounds: str) -> dict[str, Any]:
    """What page and JSON are made of. `names`: of the two versions. `bounds`: what was read, in words."""
    first, second = heads
    about = {"ring": first.ring, "source": bounds, "read": f"{replay.read:,} records"}
    accuracy = [head.metrics.get("intent_accuracy") for head in heads]
    if all(isinstance(one, int | float) for one in accuracy):
        about["held-out intent accuracy"] = " → ".join(f"{one:.1%}" for one in accuracy)
    if new := sorted(set(second.intents) - set(first.intents)):
        about["new intents"] = _few(new)
    if gone := sorted(set(first.intents) - set(second.intents)):
        about["intents left out"] = _few(gone)
    return {
        "tenant": first.tenant, "ring": first.ring, "versions": dict(zip(VERSIONS, names, strict=True)),
        "about": about, "warnings": _warnings(replay), "limit": replay.limit, "cut": replay.cut, "read": replay.read,
        "unreadable": replay.unreadable, "lost": replay.lost, **replay.comparison.summary(),
    }


def _few(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name[:60] for name in names[:most]) + more


def _warnings(replay: Replay) -> list[str]:
    found, seen = [], replay.comparison.utterances
    refused = sum(replay.comparison.refused_by_both.values())
    if not seen:
        found.append(f"No utterance of {replay.tenant} was found in {replay.read:,} records: nothing is compared.")
    if replay.cut:
        found.append(f"The limit of {replay.limit:,} utterances came before the end: these are the first of each "
                     "partition. --limit raises it.")
    if seen and refused * 10 > seen:
        reason = replay.comparison.refused_by_both.most_common(1)[0][0]
        found.append(f"{refused:,} of {seen:,} utterances were refused for both versions, most of them as {reason}.")
    if replay.lost:
        found.append(f"{replay.lost:,} records of the time asked for are no longer there: retention took them.")
    if replay.unreadable:
        found.append(f"{replay.unreadable:,} records that tell no tenant were left out.")
    return found
