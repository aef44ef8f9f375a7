"""Records that a replay refuses, set aside with their places: a file of JSON lines for each part that has any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from infra.backfill.job import Part, Row, Span


class RefusedRows:
    """Keeps them under `directory`. A part's file is there whole or not at all, and a part read again replaces its."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        """Set the refused rows of one part aside. Raises: OSError."""
        await asyncio.to_thread(self._write, span, part, rows)

    def _write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        source = "".join(c if c.isalnum() or c in "-_." else "-" for c in span.source)[-80:]
        place = self.directory / f"{source}-{span.partition:05d}-{part.start:020d}.jsonl"
        if not rows:
            place.unlink(missing_ok=True)
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(".partial")
        told = ("error", "message", "tenant", "utterance_id", "text", "raw", "source", "partition", "offset")
        lines = (json.dumps({name: row[name] for name in told if row[name] != ""}, ensure_ascii=False) for row in rows)
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="backslashreplace")
        partial.replace(place)
