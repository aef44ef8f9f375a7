"""The client: publish an utterance, await its reply. Needs no torch, transformers or faust."""

from producers.client import Headrace
from producers.reply import Entity, Reply
from producers.sync import SyncHeadrace
from topology.errors import (
    BadHead,
    BadRecord,
    ClientClosed,
    DeadlineExceeded,
    HeadraceError,
    IdReused,
    InvalidUtterance,
    Misconfigured,
    Overloaded,
    TextTooLong,
    Unavailable,
    UnknownLanguage,
    UnknownTenant,
    WrongSpace,
)

__all__ = [
    "BadHead",
    "BadRecord",
    "ClientClosed",
    "DeadlineExceeded",
    "Entity",
    "Headrace",
    "HeadraceError",
    "IdReused",
    "InvalidUtterance",
    "Misconfigured",
    "Overloaded",
    "Reply",
    "SyncHeadrace",
    "TextTooLong",
    "Unavailable",
    "UnknownLanguage",
    "UnknownTenant",
    "WrongSpace",
]
