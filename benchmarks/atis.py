"""The ATIS test set through a running pipeline, scored here and not by the training code.

    python -m benchmarks.atis --config headrace.toml --tenant airline

Intent accuracy (first label) and exact-match span F1 over the 893 utterances; latency is not the point here: all are
sent at once. The tenant's head must have been trained on ATIS (`--export DIR` writes the JSON lines for `head train`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path

from infra.datasets import Example, atis, first_label
from producers import Headrace
from topology.errors import HeadraceError


def part(split: str) -> list[Example]:
    """A part of ATIS with the first of several intents."""
    return [replace(one, intent=first_label(one.intent)) for one in atis(split)]  # type: ignore[arg-type]


async def score(config: str | None, tenant: str) -> dict[str, float]:
    """Send the test set and count."""
    examples = part("test")
    async with Headrace(config) as client:
        replies = await client.predict_many(tenant, [one.text for one in examples], lang="en", deadline=300)
    right = hit = said = there = failed = 0
    for one, reply in zip(examples, replies, strict=True):
        wanted = {(e.start, e.end, e.label) for e in one.entities}
        there += len(wanted)
        if isinstance(reply, HeadraceError):
            failed += 1
            continue
        right += reply.intent == one.intent
        found = {(e.start, e.end, e.label) for e in reply.entities}
        said += len(found)
        hit += len(found & wanted)
    return {"utterances": len(examples), "failed": failed, "intent_accuracy": right / len(examples),
            "span_f1": 2 * hit / (said + there)}


def main() -> None:
    """Score, or export the training data."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help="headrace.toml")
    parser.add_argument("--tenant", default="airline")
    parser.add_argument("--export", type=Path, help="write train.jsonl, tune.jsonl and test.jsonl here instead")
    args = parser.parse_args()
    if args.export:
        args.export.mkdir(parents=True, exist_ok=True)
        for split, name in (("train", "train.jsonl"), ("dev", "tune.jsonl"), ("test", "test.jsonl")):
            lines = [json.dumps(asdict(one), ensure_ascii=False) for one in part(split)]
            (args.export / name).write_text("\n".join(lines) + "\n")
        return
    print(json.dumps(asyncio.run(score(args.config, args.tenant))))


if __name__ == "__main__":
    main()
