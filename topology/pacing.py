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
    sign_on_s: float = 10.0  # that one try to sign on may take: a slow network against a frozen one
    sign_on_tries: int = 3  # after so many refusals in a row the settings are wrong, and not a broker that just starts
    sign_on_pause_s: float = 0.5  # between two of them
    token_s: float = 10.0  # that the token provider may take: a slow identity server against a stuck hook
    token_margin_s: float = 30.0  # before it expires a token is replaced: more tokens against one that dies on its way

    # Client: requests out
    request_linger_s: float = 0.001  # before a request, for each reply awaited: more a request, later each one
    max_request_linger_s: float = 0.012  # the most of it: what a caller in a busy service waits to share a request

    # Client: replies in
    reply_poll_s: float = 0.0003  # between two reads of the reply stream, for each reply awaited
    max_reply_poll_s: float = 0.004  # the most of it: fewer reads of more replies, later each one
    last_look_s: float = 0.05  # before a deadline the reply key is read once, in case the stream was late
    reply_kept_s: float = 120.0  # a reply that nobody asks for is forgotten after so long: memory against late askers
    max_at_once: int = 512  # calls in flight of `predict_many`: throughput against memory

    # Kafka: clients
    metadata_max_age_s: float = 10.0  # between two looks at who leads what: finds brokers that came back, for a request
    look_s: float = 1.0  # without an acknowledgement, then the producer looks whether the partition is still there
    send_s: float = 20.0  # without an acknowledgement, then the producer starts anew: a leader's election fits in
    away_s: float = 30.0  # without any news of the cluster, then a consumer gives up and its process starts anew
    close_s: float = 2.0  # that a client may take to disconnect: what it holds then is repeated
    stop_s: float = 4.0  # after SIGTERM to finish what is in hand; the rest is repeated by the next owner

    # Kafka: records
    dead_value_bytes: int = 256 << 10  # kept of a dead letter's value: evidence, against topics with small records
    dead_header_bytes: int = 32 << 10  # kept of a dead letter's own headers
    dead_key_bytes: int = 4 << 10  # kept of a dead letter's key
    max_batch_bytes: int = 32 << 20  # that a fetched batch may unpack to: a small batch of zeros unpacks to gigabytes
    max_record_bytes: int = 4 << 20  # of a record's value; no record of ours has 1 MiB, a larger one is refused unread


PACING = Pacing()
