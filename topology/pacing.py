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

    # Quotas
    max_buckets: int = 8_192  # tenants below their full quota that a worker remembers, 0.3 KB each

    # Heads: loading
    head_load_s: float = 5.0  # that a head's files may take to come; longer holds callers, shorter fails slow stores
    head_loaders: int = 4  # heads that are loaded at once: cold heads sooner, against time for scoring
    max_stuck_loads: int = 16  # threads given up to files that do not come; then cold heads are refused at once
    head_refused_s: float = 5.0  # a head that could not be loaded is not tried again for so long
    max_refused_heads: int = 1_024  # of which that is remembered
    max_head_mb: int = 512  # of one head's file: memory that a single head can take

    # Heads: system entities
    entity_cpu_s: float = 0.05  # processor time for one text; above it they are left out: 2 to 13 ms are usual
    entity_wait_s: float = 0.15  # that a text waits for them by the clock, the event loop with it
    entity_first_wait_s: float = 2.0  # the same for the first text of a language, whose tables are loaded then
    entity_start_s: float = 4.0  # that a head being loaded waits for their process; then it answers without
    entity_restart_s: float = 5.0  # between two starts of their process
    entity_log_s: float = 10.0  # between two log lines about texts that were left out


PACING = Pacing()
