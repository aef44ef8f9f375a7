"""Which requests are answered already, so that an id that comes again gets the same reply and the topic one result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from topology import wire
from topology.keys import OwnedId
from topology.pacing import PACING
from topology.stream.replies import Answer, ReplyWriter


class Answered:
    """Good predictions by tenant and id: those in Redis, and the last ones made here, on their way there."""

    def __init__(self, replies: ReplyWriter, remembered: int = PACING.replies_remembered) -> None:
        self._replies, self._remembered = replies, remembered
        self._lately: OrderedDict[OwnedId, wire.Prediction] = OrderedDict()

    async def find(self, ids: Sequence[OwnedId]) -> dict[OwnedId, Answer]:
        """Those of `ids` that have a good prediction. What a slow Redis does not tell counts as new."""
        # A thread may add to them meanwhile: one look for each.
        lately = {one: Answer(found, wire.encode(found)) for one in ids if (found := self._lately.get(one)) is not None}
        return {**await self._replies.good([one for one in ids if one not in lately]), **lately}

    def note(self, prediction: wire.Prediction) -> None:
        """A prediction whose reply is about to be written."""
        self._lately[prediction.tenant, prediction.id] = prediction
        while len(self._lately) > self._remembered:
            self._lately.popitem(last=False)
