"""Every Redis key name. One spelling: no other file builds a key."""

from __future__ import annotations


def reply(prefix: str, request_id: str) -> str:
    """The reply to one request: `+` or `-` (an error), then a Prediction's bytes."""
    return f"{prefix}:reply:{request_id}"


def claim(prefix: str, request_id: str) -> str:
    """Held while a request under a caller's own id is on its way: the deadline, in microseconds."""
    return f"{prefix}:claim:{request_id}"


def waiters(prefix: str, request_id: str) -> str:
    """The set of reply streams that wait for one request beside its first caller's."""
    return f"{prefix}:waiters:{request_id}"


def embedding_cache(prefix: str, ring: str, version: str) -> str:
    """The hash of a ring's cached embeddings, of one encoder version: slot → digest of the text, then the embedding."""
    return f"{prefix}:embeddings:{ring}:{version}"


def reply_stream(prefix: str, client_id: str) -> str:
    """One client's own stream of replies: entries with `id` and `value` (as at the reply key)."""
    return f"{prefix}:replies:{client_id}"


def status(prefix: str) -> str:
    """Written and forgotten by `headrace status`, to see whether Redis takes writes."""
    return f"{prefix}:status"
