"""Bounds as they are typed."""

from __future__ import annotations

import re
import time

from infra.times import time_ms
from topology.errors import Misconfigured
from topology.stream.bounded import When

HELP = "earliest, latest, a time (2026-11-01T06:00Z), an age (2h, 7d), or offsets by partition (0:1200,1:900)"


def parse_when(text: str, now_s: float | None = None) -> When:
    """The bound that `text` names; an age counts back from `now_s` (default: now). A time without a zone is UTC.

    Raises: Misconfigured.
    """
    if text in ("earliest", "latest"):
        return When(latest=text == "latest")
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        pairs = [one.split(":") for one in text.split(",")]
        return When(offsets={int(number): int(offset) for number, offset in pairs})
    try:
        return When(at_ms=time_ms(text, time.time() if now_s is None else now_s))
    except Misconfigured:
        raise Misconfigured(f"{text!r} is no bound: {HELP} is wanted") from None
