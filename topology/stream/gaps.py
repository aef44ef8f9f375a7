"""Records that wait although later ones of their partition were begun: a commit stops before them.

Tenants are taken in turn, so a partition's records are not finished in its order. Whoever owns the partition next reads
on from the commit, which is the lowest unfinished record, and would compute again all that was finished behind it: 328
embeddings when a second encoder worker joined one that was 1 s behind.
"""

from __future__ import annotations

from collections import defaultdict

from topology.stream.fair import FairQueue
from topology.stream.records import Record
from topology.stream.watermarks import Watermarks


def keep_gaps(queue: FairQueue, marks: Watermarks[tuple[str, int]]) -> None:
    """Forget what waits behind all that was begun of its partition. What is left comes in the order of offsets, so that
    each record finished lets the commit go on."""
    waiting: dict[tuple[str, int], set[int]] = defaultdict(set)
    for record in queue:
        waiting[_partition(record)].add(record.offset)
    last = {partition: marks.last_begun(partition, offsets) for partition, offsets in waiting.items()}
    gaps = [record for record in queue if record.offset < last[_partition(record)]]
    queue.keep(sorted(gaps, key=lambda record: record.offset))


def _partition(record: Record) -> tuple[str, int]:
    return record.topic, record.partition
