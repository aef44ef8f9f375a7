"""What a row of a file must have to be an utterance, and the record that comes of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from infra.backfill.files.lines import NOT_UTF8, Row
from infra.backfill.files.places import EPOCH
from infra.backfill.job import Span
from topology import rings, wire
from topology.json_map import shown
from topology.names import fault_of_name
from topology.settings import Ring
from topology.stream.records import Record

SECONDS_BELOW, MILLISECONDS_BELOW = 10**11, 10**14  # seconds until the year 5138; milliseconds from 1973 on


class Microseconds(int):
    """A time since the epoch whose unit is known, as Parquet's times are."""


@dataclass(frozen=True)
class RowReader:
    """Makes records of one file's rows.

    `tenant`: of rows that name none; empty where each must. `max_chars`: of a text, as at the client's door.
    `modified_us`: the time of rows that have none: the file's own, so that a rerun gives the same.
    """

    span: Span
    ring: Ring
    tenant: str
    max_chars: int
    modified_us: int

    def record(self, row: Row) -> Record | None:
        """Its record; `unreadable` where it is no utterance. None for a blank line."""
        at = (self.span.source, self.span.partition, row.offset)
        fault = row.fault
        if row.fields is None and not fault:
            return None
        try:
            if row.fields is not None:
                utterance = self._utterance(row.offset, row.fields)
                return Record(*at, utterance.tenant.encode(), wire.encode(utterance))
        except UnicodeEncodeError:
            fault = NOT_UTF8
        except ValueError as error:
            fault = str(error)
        return Record(*at, None, row.raw, unreadable=f"{row.where}: {fault}")

    def _utterance(self, offset: int, fields: Mapping[str, Any]) -> wire.Utterance:
        """Raises: ValueError, naming the field."""
        return wire.Utterance(
            id=self._id(offset, fields.get("id")), tenant=self._tenant(fields.get("tenant")),
            text=self._text(fields.get("text")), lang=self._lang(fields.get("lang")),
            submitted_us=self._time(fields.get("time")), deadline_us=wire.LAST_US,
        )

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("no text" if value is None else f"text: a string is wanted, this is {shown(value)}")
        if not value.strip():
            raise ValueError("text: it is empty")
        if len(value) > self.max_chars:
            raise ValueError(f"text: {len(value)} characters, the limit is {self.max_chars} (limits.max_chars)")
        value.encode()
        return value

    def _tenant(self, value: Any) -> str:
        if value is None or value == "":
            if not self.tenant:
                raise ValueError("no tenant")
            return self.tenant
        if fault := fault_of_name(value):
            raise ValueError(f"tenant: {fault}")
        return str(value)

    def _id(self, offset: int, value: Any) -> str:
        """A row's own, or the same one for the same row of the same file."""
        if value is None or value == "":
            file = hashlib.blake2b(self.span.source.encode("utf-8", "surrogateescape"), digest_size=8)
            return f"{file.hexdigest()}-{offset}"
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64:
            return str(value)
        if not isinstance(value, str) or len(value) > wire.MAX_NAME_CHARS or not value.isprintable() or "/" in value:
            raise ValueError(
                f"id: a whole number or 1 to {wire.MAX_NAME_CHARS} printable characters without '/' are wanted, "
                f"this is {shown(value)}"
            )
        return value

    def _lang(self, value: Any) -> str:
        if value is None or value == "":
            return self.ring.languages[0]
        if not isinstance(value, str) or rings.primary(value) not in self.ring.languages:
            raise ValueError(
                f"lang: {shown(value)} is none of ring {self.ring.name} ({', '.join(self.ring.languages)})"
            )
        return rings.primary(value)

    def _time(self, value: Any) -> int:
        if value is None or value == "":
            return self.modified_us
        try:
            time_us = value if isinstance(value, Microseconds) else _time_us(value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"time: ISO 8601 or a number since the epoch is wanted, this is {shown(value)}") from error
        if not 0 <= time_us <= wire.LAST_US:
            raise ValueError(f"time: {shown(value)} is not within the years 1970 to 9999")
        return int(time_us)


def _time_us(value: Any) -> int:
    """Microseconds since the epoch. A number's unit follows from its size: below 10¹¹ seconds, below 10¹⁴ milliseconds,
    else microseconds. A text without a zone is UTC. Raises: ValueError, OverflowError."""
    if isinstance(value, str):
        number = value.strip()
        if not number.replace(".", "", 1).isdecimal():
            time = datetime.fromisoformat(number)
            aware = time if time.tzinfo else time.replace(tzinfo=UTC)
            return (aware - EPOCH) // timedelta(microseconds=1)
        value = float(number) if "." in number else int(number)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(value)
    return round(value * (1_000_000 if value < SECONDS_BELOW else 1_000 if value < MILLISECONDS_BELOW else 1))
