"""Every Redis key name. One spelling: no other file builds a key.

Whatever stands under a request's id is its tenant's own, so every such key names the tenant first. Tenants and ids may
hold any character: `:` and `%` of a tenant are written `%3A` and `%25`, so that no two pairs share a key.
"""

from __future__ import annotations

import hashlib

from topology.errors import InvalidUtterance

OwnedId = tuple[str, str]  # whose request, and its id


def reply(prefix: str, tenant: str, request_id: str) -> str:
    """The reply to one request: `+` or `-` (an error), then a Prediction's bytes."""
    return f"{prefix}:reply:{_owner(tenant)}:{request_id}"


def claim(prefix: str, tenant: str, request_id: str) -> str:
    """Held while a request under a caller's own id is in flight: deadline (µs), digest, whose stream."""
    return f"{prefix}:claim:{_owner(tenant)}:{request_id}"


def waiters(prefix: str, tenant: str, request_id: str) -> str:
    """The set of reply streams that wait for one request beside its first caller's."""
    return f"{prefix}:waiters:{_owner(tenant)}:{request_id}"


def embedding_cache(prefix: str, ring: str, version: str) -> str:
    """The hash of a ring's cached embeddings, of one encoder version: slot → digest of the text, then the embedding."""
    return f"{prefix}:embeddings:{ring}:{version}"


def reply_stream(prefix: str, client_id: str) -> str:
    """One client's own stream of replies: entries with `id`, `value` (as at the reply key) and `tenant`."""
    return f"{prefix}:replies:{client_id}"


def check_reply_stream(prefix: str, name: str) -> None:
    """Whether workers may write to the stream that a request names; empty for none. Raises: InvalidUtterance."""
    allowed = reply_stream(prefix, "")
    if name and not (name.startswith(allowed) and len(name) > len(allowed)):
        raise InvalidUtterance(f"reply_to: a name that begins with {allowed!r} is wanted, this is {name[:80]!r}")


def request_digest(text: str, lang: str) -> str:
    """What an id stands for: an id that comes again with another digest is refused. `reply_scripts` computes it too."""
    asked = f"{len(lang.encode())}:{lang}{text}"
    return hashlib.sha1(asked.encode(), usedforsecurity=False).hexdigest()


def _owner(tenant: str) -> str:
    return tenant.replace("%", "%25").replace(":", "%3A")


def status(prefix: str) -> str:
    """Written and forgotten by `headrace status`, to see whether Redis takes writes."""
    return f"{prefix}:status"
