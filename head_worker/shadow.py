"""What a version in the shadow would have said, beside what was answered."""

from __future__ import annotations

import json

from head_worker.engine import Head, Scored
from topology.wire import Embedding


def comparison(embedding: Embedding, answered: Scored, current: Head, other: Scored, shadow: Head) -> bytes:
    """A record of the topic of comparisons, in JSON."""
    spans = [{(e.start, e.end, e.label) for e in one.entities} for one in (answered, other)]
    return json.dumps({
        "id": embedding.id, "tenant": embedding.tenant, "text": embedding.text,
        "current": _told(answered, current), "shadow": _told(other, shadow),
        "same_intent": answered.intent == other.intent, "same_entities": spans[0] == spans[1],
    }, ensure_ascii=False).encode()


def _told(scored: Scored, head: Head) -> dict[str, object]:
    return {
        "version": head.manifest.version, "intent": scored.intent, "confidence": round(scored.confidence, 4),
        "entities": [[e.start, e.end, e.label] for e in scored.entities],
    }
