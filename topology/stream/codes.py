"""Error codes of Kafka's protocol that aiokafka 0.14 has no class for; without one it calls each of them unknown."""

from __future__ import annotations

from typing import Any

from aiokafka import errors


class InvalidRecord(errors.BrokerResponseError):  # type: ignore[misc]
    """The broker took a record of the batch for broken: a compacted topic and no key, for example."""

    errno = 87
    message = "INVALID_RECORD"


class UnsupportedCompressionType(errors.BrokerResponseError):  # type: ignore[misc]
    """The topic or the request does not allow this codec."""

    errno = 76
    message = "UNSUPPORTED_COMPRESSION_TYPE"


class FencedInstanceId(errors.BrokerResponseError):  # type: ignore[misc]
    """Another member joined the group under the same instance name."""

    errno = 82
    message = "FENCED_INSTANCE_ID"


class _Passing(errors.BrokerResponseError):  # type: ignore[misc]
    retriable = True
    invalid_metadata = True


def _passing(name: str, code: int) -> type[_Passing]:
    return type(name, (_Passing,), {"errno": code, "message": name})


_KNOWN: list[Any] = [InvalidRecord, UnsupportedCompressionType, FencedInstanceId, *(
    _passing(name, code) for name, code in {
        "FencedLeaderEpoch": 74, "UnknownLeaderEpoch": 75, "OffsetNotAvailable": 78, "PreferredLeaderNotAvailable": 80,
        "GroupMaxSizeReached": 81, "EligibleLeadersNotAvailable": 83, "UnstableOffsetCommit": 88,
        "ThrottlingQuotaExceeded": 89, "UnknownTopicId": 100, "InconsistentTopicId": 103,
    }.items()
)]


def register() -> None:
    """Teach aiokafka's `for_code` the codes; one that it has a class for by now is left alone."""
    for known in _KNOWN:
        errors.kafka_errors.setdefault(known.errno, known)
