"""How many of what, as a sentence has it."""

from __future__ import annotations


def counted(count: int, one: str, more: str = "") -> str:
    """`1 line`, `1,000 lines`; `more` where it takes more than an s: `counted(n, "record waits", "records wait")`."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"
