"""What becomes of a record that gets no prediction: its caller is told, and a bad one is kept aside."""

from __future__ import annotations

from dataclasses import dataclass

from topology import wire
from topology.errors import BadRecord, DeadlineExceeded, HeadraceError, MalformedRecord, Overloaded
from topology.stream.outcomes import Outcome
from topology.stream.records import Output, Record, Reply, dead_letter


@dataclass(frozen=True)
class Asker:
    """Who asked, as far as the record tells."""

    id: str = ""
    tenant: str = ""
    lang: str = ""
    reply_to: str = ""


def asker_of(value: bytes | None) -> Asker:
    """Whatever a record, even a malformed one, says about its caller."""
    try:
        body = wire.unpack_map("record", value)
    except MalformedRecord:
        return Asker()
    texts = {name: body.get(name) for name in ("id", "tenant", "lang", "reply_to")}
    return Asker(**{n: v for n, v in texts.items() if isinstance(v, str) and len(v) <= wire.MAX_NAME_CHARS})


def refusal(record: Record, asker: Asker, error: Exception, ring: str, results: str, dead_letters: str) -> Outcome:
    """The outcome of `record`: an error on the result topic, a reply, and the dead letter.

    A request that came too late, or with too many others, is no bad record: it is answered and not kept.
    """
    code = error.code if isinstance(error, HeadraceError) else "internal"
    known = isinstance(error, BadRecord | DeadlineExceeded | Overloaded)
    message = str(error) if known else "the worker failed on this record; it is in the dead letters"
    message = message[:2_000].encode("utf-8", "backslashreplace").decode()  # it may quote half of a surrogate pair
    outputs = []
    if not isinstance(error, DeadlineExceeded | Overloaded):
        outputs.append(dead_letter(dead_letters, record, error))
    if not asker.id:
        return Outcome([record], outputs)
    answer = wire.encode(
        wire.Prediction(
            asker.id, asker.tenant, ring, asker.lang, text="", error=code, message=message,
            retry_after_ms=error.retry_after_ms if isinstance(error, Overloaded) else 0,
        )
    )
    outputs.append(Output(results, asker.tenant.encode(), answer, optional=True))  # the reply tells the caller too
    return Outcome([record], outputs, [Reply(asker.reply_to, asker.id, answer, ok=False)])
