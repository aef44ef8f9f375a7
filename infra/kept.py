"""What a local stack must remember that its broker may not: the newest record of each key of the registry and of the
placements, in a file of the state directory.

The embedded broker keeps nothing, and a cluster on this machine may be made anew. A command writes here once the broker
has taken its record, so what a command said to be done is there after any restart. An external broker keeps its own.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path

from topology.settings import Settings
from topology.stream.kafka import Producer
from topology.stream.records import Output

FILE = "kept.jsonl"


def keep(settings: Settings, outputs: Sequence[Output]) -> None:
    """Remember records that the broker has taken; nothing where the broker is external or no local stack was here."""
    place = Path(settings.state_dir) / FILE
    if settings.broker.kind == "external" or not place.parent.is_dir():
        return
    with place.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        # The end of line comes first: half a line, of a process killed here, costs only itself.
        file.write("".join(map(_line, outputs)).encode())
        file.flush()
        os.fsync(file.fileno())


def _line(one: Output) -> str:
    value = None if one.value is None else one.value.decode()
    return "\n" + json.dumps({"topic": one.topic, "key": (one.key or b"").decode(), "value": value})


def kept(settings: Settings) -> list[Output]:
    """The newest record of each key, deleted ones left out; a line that cannot be read is passed over."""
    found: dict[tuple[str, str], Output] = {}
    place = Path(settings.state_dir) / FILE
    for line in place.read_bytes().splitlines() if place.is_file() else ():
        try:
            one = json.loads(line)
            key = one["topic"], one["key"]
            found.pop(key, None)  # in the order of the last changes
            if one["value"] is not None:
                found[key] = Output(one["topic"], one["key"].encode(), one["value"].encode())
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return list(found.values())


def compact(settings: Settings) -> None:
    """Leave in the file what `kept` gives. Only while no command of the stack can run: before it is up."""
    place = Path(settings.state_dir) / FILE
    if place.is_file():
        partial = place.with_suffix(".partial")
        partial.write_text("".join(map(_line, kept(settings))))
        partial.rename(place)


async def restore(settings: Settings) -> int:
    """Send what is kept to topics that were made anew. Returns how many records. Raises: Unavailable."""
    outputs = kept(settings)
    if outputs:
        producer = Producer(settings.broker)
        await producer.start()
        try:
            if refused := await producer.send(outputs):
                raise refused[0].error
        finally:
            await producer.stop()
    return len(outputs)
