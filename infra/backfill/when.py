"""Bounds as they are typed."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from topology.errors import Misconfigured
from topology.stream.bounded import When

HELP = "earliest, latest, a time (2026-11-01T06:00Z), an age (2h, 7d), or offsets by partition (0:1200,1:900)"
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_when(text: str, now_s: float | None = None) -> When:
    """The bound that `text` names; an age counts back from `now_s` (default: now). A time without a zone is UTC.

    Raises: Misconfigured.
    """
    if text in ("earliest", "latest"):
        return When(latest=text == "latest")
    if age := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        now_s = time.time() if now_s is None else now_s
        return When(at_ms=int((now_s - float(age[1]) * SECONDS[age[2]]) * 1e3))
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        pairs = [one.split(":") for one in text.split(",")]
        return When(offsets={int(number): int(offset) for number, offset in pairs})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{text!r} is no bound: {HELP} is wanted") from None
    return When(at_ms=int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e3))
