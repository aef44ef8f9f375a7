"""Points in time, as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from topology.errors import Misconfigured

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def time_ms(text: str, now_s: float) -> int:
    """Milliseconds of the epoch: an age before now (`90s`, `15m`, `2h`, `7d`, `1w`) or ISO 8601, UTC where it names no
    zone. Raises: Misconfigured."""
    if age := re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])", text.strip(), re.ASCII):
        return int((now_s - float(age[1]) * SECONDS[age[2]]) * 1_000)
    try:
        moment = datetime.fromisoformat(text.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError) as error:
        raise Misconfigured(f"{text!r} is no time: an age (15m, 2h, 7d) or ISO 8601 is wanted, such as "
                            "2026-11-26T18:00:00Z") from error


def iso(ms: int) -> str:
    """As `2026-11-26T18:00:00Z`, which `time_ms` reads; empty for a time that nobody told, or that no date holds."""
    try:
        return f"{datetime.fromtimestamp(ms / 1_000, UTC):%Y-%m-%dT%H:%M:%SZ}" if ms >= 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""
