"""What became of the records of one partition so far. It travels with the progress: both are there, or neither."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

MOST_RANGES = 40  # of lost records that are named; a commit's metadata has 4,096 bytes


@dataclass
class Counts:
    """`read` = predicted + skipped + all that were refused. `lost`: ranges of offsets (first, one past the last) that
    retention took; what is beyond `MOST_RANGES` of them widens the last. `why`: the rest could not be read, and why."""

    read: int = 0
    predicted: int = 0
    skipped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[int, int]] = field(default_factory=list)
    why: str = ""

    @property
    def lost_records(self) -> int:
        """How many offsets were lost."""
        return sum(end - start for start, end in self.lost)

    def lose(self, start: int, end: int) -> None:
        """Note a lost range, in the order of offsets."""
        if self.lost and (self.lost[-1][1] >= start or len(self.lost) >= MOST_RANGES):
            self.lost[-1] = (self.lost[-1][0], max(end, self.lost[-1][1]))
        elif end > start:
            self.lost.append((start, end))

    def add(self, other: Counts) -> None:
        """Add what became of other records."""
        self.read += other.read
        self.predicted += other.predicted
        self.skipped += other.skipped
        self.refused.update(other.refused)
        for start, end in other.lost:
            self.lose(start, end)
        self.why = other.why or self.why

    def to_json(self) -> str:
        """As it is committed."""
        told = [self.read, self.predicted, self.skipped, self.refused, self.lost, self.why]
        return json.dumps(told, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Counts:
        """What was committed; nothing known where it is none of ours."""
        try:
            told = json.loads(text)
            if not isinstance(told, list):
                return cls()
            told += (0, 0, 0, {}, [], "")[len(told):]  # of a release before
            read, predicted, skipped, refused, lost, why, *_ = told  # a later release has more
            return cls(read, predicted, skipped, Counter(refused), [(int(a), int(b)) for a, b in lost], why)
        except (ValueError, TypeError):
            return cls()
