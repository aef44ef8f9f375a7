"""Every error Headrace raises. The branch an error sits on is the fate of the record that met it.

    HeadraceError
    ├─ BadRecord            no retry can help: dead-letter it, tell the caller
    │  ├─ MalformedRecord   bytes that are not the record they should be
    │  ├─ InvalidUtterance  a field of the wrong type, empty, or out of bounds
    │  ├─ IdReused          an id that stands for another text of its tenant
    │  ├─ TextTooLong       more characters than `limits.max_chars`
    │  ├─ UnknownLanguage   no ring speaks it
    │  ├─ UnknownTenant     no head is registered for the tenant in its ring
    │  ├─ BadHead           a head directory that is corrupt, truncated or contradictory
    │  ├─ HeadUnavailable   a head whose files do not come now: kept in the dead letters, may be sent again
    │  ├─ WrongSpace        head and embedding come from different encoders
    │  └─ OutputRefused     what came of it is refused by the broker for good: too large for its topic
    ├─ DeadlineExceeded     too late to matter: tell the caller, compute nothing
    ├─ Overloaded           too much at once: tell the caller when to try again, compute nothing
    ├─ Unavailable          may succeed later: do not commit, try again
    │  ├─ ClientClosed      the client is not open: nothing was sent
    │  └─ ClockRefused      the broker refuses this machine's time
    └─ Misconfigured        a person must act: stop before any work, name the place

Which of them an error of aiokafka or redis becomes is decided in `topology/stream/failures.py`.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Root of all errors raised on purpose. `code` travels in error replies and dead letters."""

    code = "internal"


class BadRecord(HeadraceError):
    """No retry can help; the record goes, alone, to the dead letters and its caller is told."""

    code = "bad_record"


class MalformedRecord(BadRecord):
    """The bytes do not decode to the record they should be."""

    code = "malformed_record"


class InvalidUtterance(BadRecord, ValueError):
    """A field of a request is missing, of the wrong type, or out of bounds."""

    code = "invalid_utterance"


class IdReused(BadRecord, ValueError):
    """The id stands for another text (or language) of the same tenant, in flight or replied to. Use a new one."""

    code = "id_reused"


class TextTooLong(BadRecord, ValueError):
    """The text has more characters than `limits.max_chars`."""

    code = "text_too_long"


class UnknownLanguage(BadRecord, ValueError):
    """No configured ring lists the language."""

    code = "unknown_language"


class UnknownTenant(BadRecord, LookupError):
    """No head is registered for the tenant in the ring that serves its language."""

    code = "unknown_tenant"


class BadHead(BadRecord, ValueError):
    """A head directory is corrupt, truncated, or contradicts itself."""

    code = "bad_head"


class HeadUnavailable(BadRecord):
    """A head's files do not come: its store is away, slow or stuck. The worker goes on with other heads and tries this
    one again in a while; the same request may succeed then."""

    code = "head_unavailable"


class WrongSpace(BadRecord, ValueError):
    """A head was asked to score an embedding of another embedding space."""

    code = "wrong_space"


class OutputRefused(BadRecord, ValueError):
    """What came of the record is refused by the broker for good; the record is not."""

    code = "output_refused"


class DeadlineExceeded(HeadraceError, TimeoutError):
    """The deadline passed before an answer was there. Nothing more will be computed for it."""

    code = "deadline_exceeded"


class Overloaded(HeadraceError):
    """The tenant asks for more than its quota or its queue holds. `retry_after_ms`: when to try again."""

    code = "overloaded"

    def __init__(self, message: str, retry_after_ms: int = 0) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Unavailable(HeadraceError, ConnectionError):
    """A broker, a Redis or a device is away. Nothing is lost; the same call may succeed later."""

    code = "unavailable"


class ClientClosed(Unavailable):
    """The client was never opened, or is closed."""

    code = "client_closed"


class ClockRefused(Unavailable):
    """The broker refuses this machine's time. Deadlines would be wrong here too: the process ends until it is set."""

    code = "clock_refused"


class Misconfigured(HeadraceError):
    """A setting is wrong. The message names the place and what to do."""

    code = "misconfigured"


def _tree(root: type[HeadraceError]) -> dict[str, type[HeadraceError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


def from_code(code: str, message: str, retry_after_ms: int = 0) -> HeadraceError:
    """The exception an error reply stands for; an unknown code (a newer worker's) gives the root class."""
    if code == Overloaded.code:
        return Overloaded(message, retry_after_ms)
    return _tree(HeadraceError).get(code, HeadraceError)(message)
