"""Which release of Headrace this code is. Packaging, commands, logs, metrics and commits take it from here."""

from __future__ import annotations

VERSION = "0.1.0"
