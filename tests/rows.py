"""Results of a backfill, as its targets take them."""

from datetime import UTC, datetime

TIME = datetime(2026, 3, 1, 12, 0, 0, 123_456, UTC)
TOPIC = "headrace.utterances.en"


def row(offset, **more):
    """One with entities of all kinds of values where `offset` is odd. Its time is `TIME` and as many microseconds."""
    entities = [
        {"start": 3, "end": 10, "label": "room", "text": "kitchen", "confidence": 0.9, "value": "kitchen"},
        {"start": 0, "end": 2, "label": "time", "text": "at", "confidence": 0.5, "value": {"b": 1, "a": "é"}},
        {"start": 0, "end": 2, "label": "size", "text": "at", "confidence": 0.5, "value": 3},
        {"start": 0, "end": 2, "label": "none", "text": "at", "confidence": 0.5},
    ]
    return {
        "id": f"r{offset}", "utterance_id": f"u{offset}", "tenant": f"t{offset % 5}", "ring": "en", "lang": "en",
        "text": f"at kitchen {offset} é😀", "submitted_us": int(TIME.timestamp() * 1e6) + offset, "intent": "on",
        "confidence": 0.75, "out_of_scope": False, "entities": entities if offset % 2 else [], "head_version": "v1",
        "space": "s1", "truncated": False, "error": "", "message": "", "source": TOPIC, "partition": 3,
        "offset": offset, **more,
    }
