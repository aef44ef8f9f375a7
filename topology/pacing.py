"""Every time and size that shapes traffic, in one table.

Each line has its unit in the name and says what it trades. What an operator should set by deployment stands in
`settings` (headrace.toml); what follows from how Kafka, Redis and an event loop behave stands here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


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

    # Worker: records in
    max_poll_records: int = 64  # in one call of `process`: fewer share batches, more wait for each other
    max_queued: int = 2_000  # records read ahead; above it reading pauses: memory against seeing every tenant's records
    max_queued_bytes: int = 64 << 20  # of values, the same: records of a megabyte fill a memory before they are many
    fetch_bytes: int = 8 << 20  # of one partition that a fetch brings: fewer requests against memory
    fetch_gather_s: float = 0.05  # that a busy worker leaves records to gather: a fetch costs as much for one as for 50

    # Worker: computing
    encode_on_loop_s: float = 0.002  # longest batch of a GPU that the loop waits for itself: a thread waits for the GIL
    max_on_cpu_thread: int = 4  # long rows that wait for a CPU's thread: above it no other records are taken
    max_on_gpu_threads: int = 2  # batches: one is prepared and copied while the other computes
    gil_switch_s: float = 0.0005  # that a thread keeps the interpreter from a GPU's loop, whose batches take 1 ms
    score_batch: int = 16  # utterances scored before the first of them is answered: fewer wake the loop more often
    nice: int = 10  # of threads that compute: they yield to those that move messages (nice(2))

    # Worker: outputs and replies
    left_wait_s: float = 0.002  # a computation waits so long for what came out before to leave: latency against idling
    batch_bytes: int = 1 << 20  # of one partition in a request: what Kafka's brokers take by default
    keyless_together: int = 4  # records without a key that go to one partition: fewer requests against even spreading
    prediction_linger_s: float = 0.03  # results that callers have as replies already wait for a batch
    prediction_batch: int = 64  # records that go before their linger is over
    max_undelivered: int = 512  # records computed and not acknowledged; above it nothing new is computed
    commit_interval_s: float = 1.0  # a crash repeats so much work; each commit is a request

    # Worker: giving up
    stuck_after_s: float = 120.0  # no record finished for so long while some wait: the process ends and starts anew
    watch_interval_s: float = 5.0  # between two looks at that

    # Pages: /livez, /readyz, /metrics
    turn_s: float = 1.0  # between two notes that the event loop turns: less work against sooner seen
    still_s: float = 30.0  # that the event loop may stand still, then /livez says no: a long batch against a stuck loop
    load_s: float = 900.0  # the same until a process was ready once: large encoders and slow disks against hung ones
    page_s: float = 10.0  # that a client of the page may be silent: slow networks against threads that wait for it

    # Worker: a rebalance
    gaps_s: float = 5.0  # that it waits for queued records older than finished ones: less is repeated, a longer stop
    parked_s: float = 0.5  # the same for records that wait for a head: a load takes as long as its store does

    # Worker: logs
    log_lines: int = 20  # of one place in the code within the time below: what went wrong, against a full disk
    log_window_s: float = 10.0

    # Client: requests out
    request_linger_s: float = 0.001  # before a request, for each reply awaited: more a request, later each one
    max_request_linger_s: float = 0.012  # the most of it: what a caller in a busy service waits to share a request

    # Client: replies in
    reply_poll_s: float = 0.0003  # between two reads of the reply stream, for each reply awaited
    max_reply_poll_s: float = 0.004  # the most of it: fewer reads of more replies, later each one
    last_look_s: float = 0.05  # before a deadline the reply key is read once, in case the stream was late
    reply_kept_s: float = 120.0  # a reply that nobody asks for is forgotten after so long: memory against late askers
    absent_s: float = 60.0  # a ring without such a tenant is left out: fewer requests, against a late new head
    max_at_once: int = 512  # calls in flight of `predict_many`: throughput against memory
    swept_every_s: float = 5.0  # that often replies to forget are looked for: memory against a look at all that wait

    # Redis
    redis_connections: int = 32  # of one client; calls beyond wait their turn here and not in Redis
    redis_attempt_s: float = 5.0  # that one call may take before it is tried anew: a slow Redis against a frozen one
    redis_pause_s: float = 0.2  # between two attempts: load on a Redis that comes back against later replies
    max_redis_pause_s: float = 1.0  # the same for clients, whose pauses double: hundreds may wait for one Redis
    reply_retry_s: float = 30.0  # that a worker tries to write a reply before it exits: longer hides an outage
    reply_block_s: float = 2.0  # that one read of the reply stream waits: fewer reads; a dead connection is seen later
    reply_stream_length: int = 20_000  # replies kept for a client that does not read: memory against lost replies
    reply_once_s: float = 300.0  # that a reply with one reader outlives its deadline: memory against repeats
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

    # `headrace status`
    status_s: float = 6.0  # that a broker or Redis may take to answer it: longer, and nobody waits for the answer
    status_apart_s: float = 2.5  # between two readings of the lag: of commits each second, at least two lie between
    status_read_s: float = 1.0  # to read on over transaction markers: what takes longer counts as lag
    status_fetch_ms: int = 20  # that a fetch at the end of a log waits: longer, and the answer comes so much later
    status_close_s: float = 1.0  # to part from a broker that may be away: longer, and the answer comes so much later

    # Kafka: clients
    admin_connect_s: float = 60.0  # that a cluster may take to accept who creates its topics: it may just be starting
    metadata_max_age_s: float = 10.0  # between two looks at who leads what: finds brokers that came back, for a request
    answer_s: float = 8.0  # a broker's to one request: sooner away from a frozen one (fenced in 9), against slow ones
    look_s: float = 1.0  # without an acknowledgement, then the producer looks whether the partition is still there
    send_s: float = 20.0  # without an acknowledgement, then the producer starts anew: a leader's election fits in
    topic_s: float = 2.0  # that a topic of dead letters may be missing; then they are left out: evidence against delay
    away_s: float = 20.0  # without any news of the cluster, then a consumer gives up and its process starts anew
    close_s: float = 2.0  # that a client of Kafka or Redis may take to disconnect: what it holds then is repeated
    stop_s: float = 4.0  # after SIGTERM to finish what is in hand; the rest is repeated by the next owner

    # Kafka: records
    dead_value_bytes: int = 256 << 10  # kept of a dead letter's value: evidence, against topics with small records
    dead_header_bytes: int = 32 << 10  # kept of a dead letter's own headers
    dead_key_bytes: int = 4 << 10  # kept of a dead letter's key
    max_batch_bytes: int = 32 << 20  # that a fetched batch may unpack to: a small batch of zeros unpacks to gigabytes
    max_record_bytes: int = 4 << 20  # of a record's value; no record of ours has 1 MiB, a larger one is refused unread

    # Dead letters
    letter_window_s: float = 60.0  # in which `limits.dead_letters_per_minute` are kept
    letter_tenants: int = 20  # all tenants' letters together, in bounds of one: names cost nothing to make up
    replay_batch: int = 64  # letters sent again in one request: fewer requests, against memory
    replays_per_s: float = 100.0  # letters sent again: sooner, against tenants' quotas and live traffic
    max_replayed: int = 100_000  # letters that came back from a replay, remembered to send each once; 0.2 KB each

    # Quotas
    max_buckets: int = 8_192  # tenants below their full quota that a worker remembers, 0.3 KB each

    # Heads: loading
    head_load_s: float = 5.0  # that a head's files may take to come; longer holds callers, shorter fails slow stores
    head_loaders: int = 4  # heads that are loaded at once: cold heads sooner, against time for scoring
    max_stuck_loads: int = 16  # threads given up to files that do not come; then cold heads are refused at once
    guest_heads: int = 32  # heads loaded for records that wait and for which there is no room: memory against a cliff
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

    # Heads: the registry
    registry_records: int = 500  # applied in one go: live utterances wait 10 ms for them, against a longer start

    # Replays
    backfill_batch_ms: float = 150.0  # longest batch on a CPU: fewer calls against a live record that waits for a core
    backfill_nice: int = 19  # of a replay's processes, which also run only when a processor is idle
    backfill_chunk: int = 512  # records read and scored together: fuller batches against memory
    backfill_gpu_chunk: int = 8_192  # the same on a GPU
    backfill_heads_chunk: int = 1_024  # the same of embeddings, which have 12 KB each
    backfill_part: int = 1_024  # offsets between two commits where the target is the topic: a crash repeats so many
    backfill_parquet_part: int = 20_000  # offsets of a Parquet file: fewer files against memory and repeated work
    backfill_look_s: float = 1.0  # between two looks at what is wished of a job: sooner heard against more reads
    backfill_beat_s: float = 3.0  # between two words of a worker on how it is
    backfill_silent_s: float = 15.0  # without such a word a worker counts as gone
    backfill_kept_s: float = 60.0  # between two notes of progress beside the commits, which expire: less repeated
    backfill_still_s: float = 10.0  # without a record, then the log's end is asked for: sooner seen against requests
    # Backfills: files
    file_fetch_bytes: int = 4 << 20  # of a file in one request to an object store: fewer requests against memory
    file_looks: int = 8  # files looked at together before a job begins: sooner begun, against a store's load
    file_fetches_kept: int = 8  # of a Parquet file, whose columns are read in turn: fewer requests against memory
    file_block_bytes: int = 1 << 20  # of a text that is looked at together: fewer reads against memory
    file_take_bytes: int = 8 << 20  # of rows in one piece: fewer turns of the loop against memory
    file_line_bytes: int = 4 << 20  # of a line; above it the line is refused: no record of ours has 1 MiB
    file_raw_bytes: int = 2 << 10  # kept of a refused line: evidence against size
    file_batch_rows: int = 1_024  # of Parquet that are decoded together: less work a row against memory
    file_skip_rows: int = 16_384  # of CSV that are skipped in one piece: fewer turns against a stop that waits
    # Replays: the look at the live path
    live_look_s: float = 2.0  # between two looks: a late live path is seen sooner, against requests to the broker
    live_window_s: float = 5.0  # of results that count for live's p99: a steadier figure, against a later one
    live_least: int = 20  # results, below which p99 tells nothing: one slow request of a few is no late live path
    live_results: int = 128  # newest results of a partition that a look reads: a better p99, against bytes and decoding
    live_calm_s: float = 5.0  # that live must be in time again before replays go on: fewer stops, against idle time

    # Insights
    insights_flush_s: float = 5.0  # that counts wait before they are written: fewer records against repeated reading
    insights_pending: int = 5_000  # predictions counted and not written yet; above it reading waits: the same
    insights_write_s: float = 30.0  # that a write of counts may take: a leader's election fits in
    insights_recover_s: float = 120.0  # that a rebalance may take, reading changelogs included; then it starts anew
    insights_export_s: float = 60.0  # between two exports: fresher files against rewriting them
    insights_minutes_s: float = 21_600.0  # that minutes are kept after their hour: late counts against memory
    insights_hours_s: float = 259_200.0  # that hours are kept after their day: what `headrace usage` shows, and memory
    insights_days_s: float = 3_456_000.0  # that days are kept: a month's bill and ten days, against memory
    insights_ahead_s: float = 60.0  # that a client's clock may be ahead of the record's: else the record's time counts
    insights_tenants: int = 4_096  # with errors alone that have rows of their own in a partition's day: made-up names
    insights_names: int = 1_000  # intents, versions and codes of a window; the others are one: memory
    insights_least: int = 50  # utterances in an hour, below which drift and shift tell nothing
    insights_heads: int = 4_096  # heads whose evaluation is remembered, and tenants Prometheus hears of: memory

    # `headrace topics cost`
    sampled_records: int = 100  # newest of a partition whose sizes are taken: a better mean, against reading
    rate_window_s: float = 3_600.0  # that rates are taken over: steadier, against what is so now

    # Autoscaling on one machine
    tend_s: float = 0.25  # between two looks at processes that ended: sooner started again, against a busy supervisor

    # Lag and load: `headrace lag`, its exporter, autoscaling
    lag_look_s: float = 5.0  # between two looks of the exporter: sooner seen, against requests to the broker
    lag_window_s: float = 15.0  # that arrivals are taken over: steadier, against what is so now
    lag_kept_s: float = 30.0  # the same for what workers do, whose batches are fewer than records
    lag_stuck_s: float = 20.0  # a position stands still so long: then it is stuck. A slow batch against a poisoned one
    lag_least_busy_s: float = 0.2  # of busy time, below which it tells no rate: a later figure against noise
    lag_observed_ratio: float = 0.15  # a busy worker's own rate is believed up to this difference (as Flink does)
    worker_page_s: float = 1.0  # that a worker may take to tell its metrics: a whole page against a slow worker's

    # Cells: tenants that move
    max_placed: int = 65_536  # tenants whose cell is remembered: memory against a hash for each cell and record
    move_kept_s: float = 30.0  # that a process remembers where it sent a tenant's records before it heard of a change
    move_hold_s: float = 5.0  # that a keyed record waits for those before it in another cell: order against a deadline
    max_held: int = 2_000  # records that wait so; above it a worker takes no others: memory, 12 KB each, against delay
    move_look_s: float = 0.02  # between two looks at how far that cell is: sooner gone on against requests
    move_commit_s: float = 0.05  # between two commits of head workers while tenants move: the same
    move_settle_s: float = 2.0  # that workers have to hear of a change where their commits do not tell that they did
    move_wait_s: float = 60.0  # without any progress of a cell that is drained, then the command gives up
    placement_s: float = 5.0  # that a worker waits to hear of the newest placements before it takes partitions
    room_s: float = 0.05  # of a look at the metrics, to count a cell's tenants: an exact count sooner, against latency


PACING = Pacing()
# Utterances are small: an encoder worker reads far ahead, so that one tenant's flood hides nobody.
ENCODER_PACING = replace(PACING, max_queued=20_000)
