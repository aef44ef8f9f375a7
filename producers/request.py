"""Checks a request and turns it into an `Utterance` before anything leaves the caller's process."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from producers.language import LanguageIdentifier
from topology import keys, rings, wire
from topology.errors import InvalidUtterance, TextTooLong
from topology.names import fault_of_name
from topology.settings import Settings

MAX_DEADLINE_S = 24 * 3_600


def now_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000


def uuid7() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits, so that ids sort by time."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64
    return str(uuid.UUID(int=value | 2 << 62 | random & (1 << 62) - 1))


@dataclass(frozen=True)
class Request:
    """An utterance and where it goes."""

    ring: str
    utterance: wire.Utterance
    key: bytes | None
    own_id: bool
    seconds: float  # from now to its deadline

    @property
    def digest(self) -> str:
        """What its id stands for."""
        return keys.request_digest(self.utterance.text, self.utterance.lang)


class RequestBuilder:
    """Builds requests for one client under one `headrace.toml`."""

    def __init__(self, settings: Settings, reply_to: str) -> None:
        self._settings = settings
        self._reply_to = reply_to
        self._identifier = LanguageIdentifier(x for langs in settings.languages.values() for x in langs)

    def build(
        self, tenant: str, text: str, lang: str | None, deadline_s: float | None, request_id: str | None,
        key: str | None, one_reader: bool = False, guessed: bool = False,
    ) -> Request:
        """The checked request.

        Raises: InvalidUtterance, TextTooLong, UnknownLanguage; each says what to do.
        """
        check_tenant(tenant)
        self._check_text(text)
        for name, value in (("id", request_id), ("key", key), ("lang", lang)):
            if value is not None:
                check_name(name, value)
        seconds = self.deadline(deadline_s)
        language = rings.primary(lang) if lang else self._identifier.identify(text)
        ring = rings.ring_of(lang or language, self._settings.languages)
        now = now_us()
        utterance = wire.Utterance(
            id=request_id or uuid7(), tenant=tenant, text=text, lang=language,
            submitted_us=now, deadline_us=now + int(seconds * 1e6), reply_to=self._reply_to,
            one_reader=one_reader, guessed=guessed,
        )
        # Records under one own id meet on one partition, so that a repeat follows its first.
        spread_by = key or request_id
        return Request(ring, utterance, spread_by.encode() if spread_by else None, request_id is not None, seconds)

    def _check_text(self, text: object) -> None:
        if not isinstance(text, str):
            raise InvalidUtterance(f"text: a str is wanted, this is {type(text).__name__}")
        if not text.strip():
            raise InvalidUtterance("text: it is empty; there is nothing to understand")
        if len(text) > self._settings.limits.max_chars:
            raise TextTooLong(
                f"text: {len(text)} characters, the limit is {self._settings.limits.max_chars}. Send the part that "
                f"matters (the encoder reads {self._settings.limits.max_tokens} tokens), or raise limits.max_chars."
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            place = f"text: not valid Unicode at character {error.start}"
            raise InvalidUtterance(f"{place}; remove lone surrogates") from error

    def deadline(self, deadline_s: float | None) -> float:
        """The checked seconds from now; `limits.deadline_s` where none are given. Raises: InvalidUtterance."""
        if deadline_s is None:
            return self._settings.limits.deadline_s
        number = isinstance(deadline_s, int | float) and not isinstance(deadline_s, bool)
        if not number or not 0 < deadline_s <= MAX_DEADLINE_S:
            raise InvalidUtterance(f"deadline: seconds from now, above 0, up to a day, are wanted, not {deadline_s!r}")
        return float(deadline_s)


def check_tenant(value: object) -> None:
    """Raises: InvalidUtterance where `value` is no name of a tenant."""
    if fault := fault_of_name(value):
        raise InvalidUtterance(f"tenant: {fault}")


def check_texts(value: object) -> Iterable[str]:
    """`value`. Raises: InvalidUtterance where it is one text, whose letters would be asked for, or no list at all."""
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Iterable):
        raise InvalidUtterance(f"texts: a list of texts is wanted, this is {type(value).__name__}")
    return value


def check_name(field: str, value: object) -> None:
    """Raises: InvalidUtterance where `value` is no id, key or language tag."""
    if not isinstance(value, str):
        raise InvalidUtterance(f"{field}: a str is wanted, this is {type(value).__name__}")
    if not value or len(value) > wire.MAX_NAME_CHARS or not value.isprintable() or "/" in value:
        raise InvalidUtterance(
            f"{field}: 1 to {wire.MAX_NAME_CHARS} printable characters without '/' are wanted, this is {value[:40]!r}"
        )
