"""Logs that stay bounded: records that anybody may write must not fill the disk that the logs are on."""

from __future__ import annotations

import logging
import time

from topology.pacing import PACING, Pacing


class LogLimit(logging.Filter):
    """Lets through, of one place in the code, `log_lines` lines in `log_window_s`; the first after them says how many
    were left out."""

    def __init__(self, pacing: Pacing = PACING) -> None:
        super().__init__()
        self._pacing = pacing
        self._places: dict[tuple[str, int], tuple[float, int]] = {}  # since when, and how many lines since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is to be written."""
        place, now_s = (record.pathname, record.lineno), time.monotonic()
        since_s, count = self._places.get(place, (now_s, 0))
        if now_s - since_s >= self._pacing.log_window_s:
            if (left_out := count - self._pacing.log_lines) > 0:
                record.msg, record.args = f"{record.getMessage()} (and {left_out} lines like it before)", ()
            since_s, count = now_s, 0
        self._places[place] = since_s, count + 1
        return count < self._pacing.log_lines
