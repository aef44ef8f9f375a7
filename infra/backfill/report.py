"""What a job came to: by partition and in all, for a person and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from infra.backfill.counts import Counts
from infra.backfill.job import Job
from infra.backfill.jobs import Beat, Wish
from infra.backfill.progress import Reached
from infra.backfill.source import END_OF_FILE
from topology.pacing import PACING


def is_done(job: Job, reached: Sequence[Reached]) -> bool:
    """Whether every position has reached its end."""
    return all(one.is_end_of(span) for span, one in zip(job.spans, reached, strict=True))


def total_of(reached: Sequence[Reached]) -> Counts:
    """The counts of all partitions; of lost records the numbers are in each partition's."""
    total = Counts()
    for one in reached:
        total.add(Counts(one.counts.read, one.counts.predicted, one.counts.skipped, one.counts.refused))
    return total


def lost_of(reached: Sequence[Reached]) -> int:
    """Records that were lost, in all partitions."""
    return sum(one.counts.lost_records for one in reached)


def state_of(job: Job, reached: Sequence[Reached], wish: Wish, beats: Sequence[Beat], now_us: int) -> str:
    """`done`; `incomplete` (done, and something was lost); `cancelled`; `paused`; `waiting` (for live traffic);
    `running`; `stopped` (no worker says anything: the same command goes on)."""
    if is_done(job, reached):
        return "incomplete" if any(one.counts.lost or one.counts.why for one in reached) else "done"
    if wish == "cancelled":
        return "cancelled"
    fresh = [b for b in beats if b.state != "ended" and now_us - b.at_us < PACING.backfill_silent_s * 1e6]
    if not fresh:
        return "paused" if wish == "paused" else "stopped"
    states = {b.state for b in fresh}
    return "running" if "running" in states else "waiting" if "waiting" in states else "paused"


def done_and_all(job: Job, reached: Sequence[Reached]) -> tuple[int, int]:
    """(offsets that are done, all offsets) of spans whose end is known; of files the rows that were read, and 0."""
    spans = list(zip(job.spans, reached, strict=True))
    if any(span.end < 0 for span, _ in spans):
        return sum(one.counts.read for _, one in spans), 0
    done = sum(min(one.position, span.end) - span.start for span, one in spans)
    return done, sum(span.end - span.start for span in job.spans)


def report(job: Job, reached: Sequence[Reached], state: str, refused: str) -> dict[str, Any]:
    """The whole report. `refused`: where the refused records are set aside."""
    total = total_of(reached)
    return {
        "id": job.id, "state": state, "created": _time(job.created_us), "asked": asdict(job.asked),
        "read": total.read, "predicted": total.predicted, "skipped": total.skipped, "refused": dict(total.refused),
        "lost": lost_of(reached), "refused_records": refused if sum(total.refused.values()) else "",
        "partitions": [
            {
                "source": span.source, "partition": span.partition, "start": span.start, "end": _end(span.end),
                "position": _end(one.position) if one.position < END_OF_FILE else "end", "read": one.counts.read,
                "predicted": one.counts.predicted, "skipped": one.counts.skipped, "refused": dict(one.counts.refused),
                "lost": one.counts.lost, "why": one.counts.why,
            } for span, one in zip(job.spans, reached, strict=True)
        ],
    }


def _end(offset: int) -> int | str:
    return "end" if offset < 0 else offset


def summary(told: dict[str, Any]) -> str:
    """The report in a few lines."""
    lines = [f"{told['id']}: {told['state']}. {told['predicted']:,} predicted of {told['read']:,} read, "
             f"{told['skipped']:,} of other tenants skipped"]
    if told["refused"]:
        reasons = ", ".join(f"{code} {count:,}" for code, count in Counter(told["refused"]).most_common())
        lines.append(f"refused: {reasons}; set aside in {told['refused_records']}")
    for one in told["partitions"]:
        if one["why"]:
            lines.append(one["why"])
        for start, end in one["lost"]:
            lines.append(f"lost to retention: {one['source']}[{one['partition']}] records {start:,} to {end - 1:,}")
    return "\n".join(lines)


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds")
