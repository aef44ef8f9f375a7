"""Every time and size that shapes traffic, in one table.

Each line has its unit in the name and says what it trades. What an operator should set by deployment stands in
`settings` (headrace.toml); what follows from how Kafka, Redis and an event loop behave stands here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pacing:
    """The pacing of one process. `PACING` is what all processes use; tests and benchmarks pass others."""

    # Connecting
    connect_s: float = 30.0  # that a broker may take to accept a first connection; longer hides an outage

    # Client: requests out
    request_linger_s: float = 0.001  # before a request, for each reply awaited: more a request, later each one
    max_request_linger_s: float = 0.012  # the most of it: what a caller in a busy service waits to share a request

    # Client: replies in
    reply_poll_s: float = 0.0003  # between two reads of the reply stream, for each reply awaited
    max_reply_poll_s: float = 0.004  # the most of it: fewer reads of more replies, later each one
    last_look_s: float = 0.05  # before a deadline the reply key is read once, in case the stream was late
    reply_kept_s: float = 120.0  # a reply that nobody asks for is forgotten after so long: memory against late askers
    max_at_once: int = 512  # calls in flight of `predict_many`: throughput against memory
    swept_every_s: float = 5.0  # that often replies to forget are looked for: memory against a look at all that wait

    # Redis
    redis_connections: int = 32  # of one client; calls beyond wait their turn here and not in Redis
    redis_attempt_s: float = 5.0  # that one call may take before it is tried anew: a slow Redis against a frozen one
    redis_pause_s: float = 0.2  # between two attempts: load on a Redis that comes back against later replies
    reply_retry_s: float = 30.0  # that a worker tries to write a reply before it exits: longer hides an outage
    reply_block_s: float = 2.0  # that one read of the reply stream waits: fewer reads; a dead connection is seen later
    reply_stream_length: int = 20_000  # replies kept for a client that does not read: memory against lost replies
    error_kept_s: float = 60.0  # that an error stays at a reply key: the same id may be tried again after it
    lookup_s: float = 0.25  # that a head worker waits to hear which replies are there: latency against a repeat
    replies_remembered: int = 1_024  # by a head worker, of those that may not be in Redis yet: memory against a repeat

    # Embedding cache
    cache_get_s: float = 0.02  # an answer that takes longer counts as none: hits against latency
    cache_put_s: float = 1.0  # that a write may take; nobody waits for it
    cache_slow_calls: int = 3  # slow or failed calls in a row, after which the cache is not asked
    cache_rest_s: float = 5.0  # for so long
    cache_kept_s: int = 86_400  # that a ring's cached embeddings outlive their last write
    cache_entry_bytes: int = 12_288  # an utterance of 15 tokens: what a slot is reckoned at

    # Kafka: clients
    metadata_max_age_s: float = 10.0  # between two looks at who leads what: finds brokers that came back, for a request
    send_s: float = 20.0  # without an acknowledgement, then the producer starts anew: a leader's election fits in
    away_s: float = 30.0  # without any news of the cluster, then a consumer gives up and its process starts anew
    close_s: float = 2.0  # that a client of Kafka or Redis may take to disconnect: what it holds then is repeated
    stop_s: float = 6.0  # after SIGTERM to finish what is in hand; the rest is repeated by the next owner

    # Kafka: records
    dead_value_bytes: int = 256 << 10  # kept of a dead letter's value: evidence, against topics with small records
    dead_header_bytes: int = 32 << 10  # kept of a dead letter's own headers
    dead_key_bytes: int = 4 << 10  # kept of a dead letter's key
    max_batch_bytes: int = 64 << 20  # that a fetched batch may unpack to: a small batch of zeros unpacks to gigabytes


PACING = Pacing()
