"""How a client of Kafka begins, what an error means to it, and how it ends: patiently, by name, and within a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiokafka.errors import InvalidTimestampError, KafkaConnectionError, KafkaError

from topology.errors import ClockRefused, HeadraceError, Misconfigured, Unavailable
from topology.pacing import PACING
from topology.stream.failures import Fate, fate_of

log = logging.getLogger(__name__)


async def patiently(start: Callable[[], Awaitable[Any]], what: str) -> None:
    """Call `start` until it connects: a broker that is starting refuses for a moment. Raises: Unavailable."""
    deadline = asyncio.get_running_loop().time() + PACING.connect_s
    while True:
        try:
            await start()
            return
        except KafkaError as error:
            if not isinstance(error, KafkaConnectionError):
                raise told(error, f"no {what} could connect to the broker") from error
            if asyncio.get_running_loop().time() > deadline:
                message = f"no {what} could connect to the broker within {PACING.connect_s:.0f} s: {error}"
                raise Unavailable(message) from error
            await asyncio.sleep(0.2)


async def ended(stop: Callable[[], Awaitable[Any]], what: str) -> None:
    """Call `stop`, for `PACING.close_s` at most. What goes wrong is logged, not raised: what ended the run counts.

    aiokafka waits in `stop` for a broker that is away, and may raise the CancelledError of a task of its own.
    """
    stopping = asyncio.ensure_future(stop())
    done, _ = await asyncio.wait([stopping], timeout=PACING.close_s)
    if not done:
        stopping.cancel()
        log.warning("the %s did not stop within %.0f s: the broker is away", what, PACING.close_s)
    elif stopping.cancelled() or stopping.exception():
        error = None if stopping.cancelled() else stopping.exception()
        log.warning("the %s stopped with %r", what, error or asyncio.CancelledError())


def told(error: KafkaError, what: str) -> HeadraceError:
    """What an error of the broker means to who called, after its fate; that of one record is not for here."""
    if isinstance(error, InvalidTimestampError):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return ClockRefused(
            f"the broker refuses this machine's time, {now}: it differs from the broker's by more than the topic's "
            "message.timestamp.after.max.ms (1 h by default) or message.timestamp.before.max.ms; set the clock"
        )
    because = f"{what}: {error}"  # which begins with the name of its class
    return (Misconfigured if fate_of(error) is Fate.CONFIGURATION else Unavailable)(because)
