"""What a client remembers of requests whose replies nobody asked for."""

import asyncio

from producers import Headrace
from producers.client import KEPT_S, MAX_AT_ONCE
from producers.request import now_us
from topology.settings import Redis, Settings


class Looked(dict):
    """A dict that counts how often all of it is looked at."""

    times = 0

    def items(self):
        self.times += 1
        return super().items()


async def test_replies_that_nobody_asks_for_are_forgotten_and_what_waits_is_not_looked_through_at_every_request():
    client = Headrace(Settings(redis=Redis(url="redis://127.0.0.1:1/0")))
    client._waiting = waiting = Looked()
    future = asyncio.get_running_loop().create_future()
    old = now_us() - int((KEPT_S + 1) * 1e6)
    waiting.update({f"old-{i}": (future, old) for i in range(MAX_AT_ONCE)})
    waiting.update({f"new-{i}": (future, now_us()) for i in range(MAX_AT_ONCE + 1)})
    for _ in range(100):
        client._forget_old()
    assert len(waiting) == MAX_AT_ONCE + 1 and all(name.startswith("new") for name in waiting)
    assert waiting.times == 1
