"""The last decisions, as JSON lines under `state_dir`: whoever decides writes, `headrace scale history` reads.

A line stands for a stretch in which a tier's decision stayed the same; it is written anew with the newest reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.autoscale.tiers import Advice
from topology.json_map import known_fields

NAME = "scale-history.jsonl"
KEPT = 500  # lines: 100 KB; older ones go
QUIET_WRITE_S = 60.0  # an unchanged decision is written so often: a crash loses its newest reason, no change


@dataclass(frozen=True)
class Stretch:
    """One decision from when it was first made until when it was last made the same, `times` in all."""

    tier: str
    since_s: float
    at_s: float
    running: int
    replicas: int
    why: str
    held: bool = False
    reports: tuple[str, ...] = ()
    times: int = 1


class History:
    """The decisions of this process on top of those that the file had."""

    def __init__(self, state_dir: Path) -> None:
        self.place = state_dir / NAME
        self._lines = read(state_dir)
        self._written_s = 0.0

    def note(self, advices: Iterable[Advice]) -> None:
        """Keep what was decided. Raises: OSError where the file cannot be written."""
        changed, at_s = False, 0.0
        for advice in advices:
            at_s = max(at_s, advice.at_s)
            changed |= self._note(advice)
        self._lines = self._lines[-KEPT:]
        if changed or at_s >= self._written_s + QUIET_WRITE_S:
            self._write()
            self._written_s = at_s

    def latest(self) -> dict[str, int]:
        """Tier → the count that was decided last, or held where it was known what to hold."""
        return {one.tier: one.replicas for one in self._lines if one.running or not one.held}

    def _note(self, advice: Advice) -> bool:
        """Is it another decision than the tier's last one?"""
        new = Stretch(advice.tier, advice.at_s, advice.at_s, advice.running, advice.replicas, advice.why, advice.held,
                      advice.reports)
        last = next((n for n in range(len(self._lines) - 1, -1, -1) if self._lines[n].tier == advice.tier), None)
        if last is not None and _same(self._lines[last], new):
            old = self._lines[last]
            self._lines[last] = Stretch(old.tier, old.since_s, new.at_s, new.running, new.replicas, new.why, new.held,
                                        new.reports, old.times + 1)
            return False
        self._lines.append(new)
        return True

    def _write(self) -> None:
        self.place.parent.mkdir(parents=True, exist_ok=True)
        partial = self.place.with_suffix(f".{os.getpid()}")
        partial.write_text("".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in self._lines), "utf-8")
        partial.replace(self.place)


def read(state_dir: Path) -> list[Stretch]:
    """What is kept, the oldest first; a line that cannot be read is passed over."""
    try:
        lines = (state_dir / NAME).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            body = json.loads(line)
            found.append(Stretch(**{**known_fields(Stretch, body), "reports": tuple(body.get("reports", ()))}))
        except (ValueError, TypeError, AttributeError):
            continue
    return found


def _same(one: Stretch, other: Stretch) -> bool:
    """The figures of a reason and of a report move always; what is decided, why nothing is, and for which partitions,
    does not."""
    return (one.running, one.replicas, one.held and one.why, _heads(one)) == (
        other.running, other.replicas, other.held and other.why, _heads(other))


def _heads(one: Stretch) -> tuple[str, ...]:
    return tuple(" ".join(report.split()[:3]) for report in one.reports)
