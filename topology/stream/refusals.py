"""What becomes of a record that gets no prediction: its caller is told, and a bad one is kept aside."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from topology import keys, topics, wire
from topology.errors import BadRecord, DeadlineExceeded, HeadraceError, MalformedRecord, Overloaded, UnknownTenant
from topology.settings import Settings
from topology.stream.letter_bound import LetterBound
from topology.stream.outcomes import Outcome
from topology.stream.records import OutgoingReply, Output, Record, dead_letter
from topology.topics import Lane

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asker:
    """Who asked, as far as the record tells."""

    id: str = ""
    tenant: str = ""
    lang: str = ""
    reply_to: str = ""
    text: str = ""
    guessed: bool = False


def asker_of(value: bytes | None) -> Asker:
    """Whatever a record, even a malformed one, says about its caller."""
    try:
        body = wire.unpack_map("record", value)
    except MalformedRecord:
        return Asker()
    texts = {name: body.get(name) for name in ("id", "tenant", "lang", "reply_to")}
    known = {n: v for n, v in texts.items() if isinstance(v, str) and len(v) <= wire.MAX_NAME_CHARS}
    text = body.get("text")
    return Asker(**known, text=text if isinstance(text, str) else "", guessed=body.get("guessed") is True)


class Refusals:
    """The outcomes of one worker's records that get no prediction. Callers of the backfill lane are long gone: no
    replies for them."""

    def __init__(self, settings: Settings, ring: str, lane: Lane) -> None:
        self._ring, self._letters = ring, topics.dead_letters(settings.prefix)
        self._replies = lane == "live"
        self._bound = LetterBound(settings.limits.dead_letters_per_minute)

    @property
    def letters_over_bound(self) -> int:
        """Dead letters that were not kept, since their tenant, or all tenants, had too many."""
        return self._bound.over

    def outcome(self, record: Record, asker: Asker, error: Exception, results: str) -> Outcome:
        """An error on the topic `results`, a reply, and the dead letter.

        A request that came too late, or with too many others, or to a ring that its client guessed and where the
        tenant is unknown, is no bad record: it is answered and not kept. Neither are more letters than the bound.
        """
        is_bad = not isinstance(error, DeadlineExceeded | Overloaded)
        is_bad = is_bad and not (asker.guessed and isinstance(error, UnknownTenant))
        kept = is_bad and self._is_kept(record, asker, error)
        outputs = [dead_letter(self._letters, record, error)] if kept else []
        if not asker.id:
            return Outcome([record], outputs)
        answer = _answer(asker, error, self._ring, kept)
        outputs.append(Output(results, asker.tenant.encode(), answer, optional=True))  # the reply tells the caller too
        if not self._replies:
            return Outcome([record], outputs)
        digest = keys.request_digest(asker.text, asker.lang) if asker.text else ""
        reply = OutgoingReply(asker.reply_to, asker.tenant, asker.id, answer, ok=False, digest=digest)
        return Outcome([record], outputs, [reply])

    def _is_kept(self, record: Record, asker: Asker, error: Exception) -> bool:
        if self._bound.takes(asker.tenant, time.monotonic()):
            return True
        log.warning(
            "no dead letter for %s[%d]@%d of tenant %r: too many in this minute; its error: %.200s",
            record.topic, record.partition, record.offset, asker.tenant, error,
        )
        return False


def _answer(asker: Asker, error: Exception, ring: str, kept: bool) -> bytes:
    code = error.code if isinstance(error, HeadraceError) else "internal"
    known = isinstance(error, BadRecord | DeadlineExceeded | Overloaded)
    where = "it is in the dead letters" if kept else "too many like it: it is not in the dead letters"
    message = str(error) if known else f"the worker failed on this record; {where}"
    message = message[:2_000].encode("utf-8", "backslashreplace").decode()  # it may quote half of a surrogate pair
    return wire.encode(
        wire.Prediction(
            asker.id, asker.tenant, ring, asker.lang, text="", error=code, message=message,
            retry_after_ms=error.retry_after_ms if isinstance(error, Overloaded) else 0,
        )
    )
