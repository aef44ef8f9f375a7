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


PACING = Pacing()
