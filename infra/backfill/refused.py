"""Records that a replay refuses, set aside with their places: a file of JSON lines for each part that has any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from infra.backfill.job import Part, Row, Span
from infra.backfill.whole_files import put_local

TOLD = ("error", "message", "tenant", "utterance_id", "text", "raw", "source", "partition", "offset")


class RefusedRows:
    """Keeps them beside the job's Parquet, else under `directory`. A part's file is there whole or not at all, and a
    part read again replaces its own."""

    def __init__(self, directory: Path, parquet: Sequence[str]) -> None:
        self._directory, self._url = directory, parquet[0] if parquet else ""

    async def write(self, span: Span, part: Part, rows: Sequence[Row]) -> None:
        """Set the refused rows of one part aside. Raises: OSError, Unavailable."""
        told = [{name: row[name] for name in TOLD if row.get(name, "") != ""} for row in rows]
        if self._url:
            from infra.backfill.parquet import write_refused  # here: it needs the extra `backfill`

            await write_refused(self._url, span, part, told)
            return
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in told)
        source = "".join(c if c.isalnum() or c in "-_." else "-" for c in span.source)[-80:]
        place = self._directory / f"{source}-{span.partition:05d}-{part.start:020d}.jsonl"
        await asyncio.to_thread(put_local, self._directory, place, lines.encode("utf-8", "backslashreplace"))
