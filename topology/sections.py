"""The sections of `headrace.toml`: its shape is these dataclasses, and `settings` reads and checks it."""

from __future__ import annotations

from dataclasses import dataclass, field

from topology.connections import Broker, Redis


@dataclass(frozen=True)
class Heads:
    """Where heads live, and how much of them one head worker keeps in memory. `pinned` tenants' never leave it.

    `store`: a directory, or a URL that fsspec knows (s3://bucket/path, gs://, …). Of what is used, copies of `disk_mb`
    are kept under `state_dir`: workers map those, never the store's files.
    """

    store: str = ".headrace/heads"
    memory_mb: int = 1_024
    disk_mb: int = 16_384
    pinned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and how many dead letters of one tenant each worker keeps in a minute."""

    max_chars: int = 8_192
    max_tokens: int = 250
    deadline_s: float = 10.0
    dead_letters_per_minute: int = 60


@dataclass(frozen=True)
class Cache:
    """Embeddings that all tenants of a ring share, in Redis. `off_for`: tenants whose texts are never kept."""

    enabled: bool = True
    embeddings_mb: int = 64
    off_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quota:
    """What one tenant may ask for: utterances a second on average, `burst_s` seconds of it at once, and so many waiting
    in one worker. What is above is answered at once with `overloaded` and when to try again."""

    per_s: float = 1e6
    burst_s: float = 2.0
    queue: int = 10_000


@dataclass(frozen=True)
class Quotas:
    """The quota of every tenant, and those of single ones."""

    default: Quota = Quota()
    tenants: dict[str, Quota] = field(default_factory=dict)


@dataclass(frozen=True)
class Topics:
    """How topics are created. Production wants replication 3 with min_insync_replicas 2."""

    replication: int = 1
    min_insync_replicas: int = 1
    retention_hours: int = 168


@dataclass(frozen=True)
class Backfill:
    """When replays pause: while live results take longer at p99, from submitted to predicted, than `live_p99_ms`, or
    while the oldest live record that waits is older than `live_age_s`."""

    live_p99_ms: float = 250.0
    live_age_s: float = 5.0


@dataclass(frozen=True)
class Autoscale:
    """What autoscaling aims at, for encoders and heads alike; `docs/SCALING.md` has the formula.

    `utilization`: the busy share that a tier is sized for. `objective_s`: the age that no waiting record should reach.
    `catch_up_s`: how soon a backlog should be gone. `start_s`: from the decision to a worker that works, and
    `rebalance_s`: how long a group stands still when its members change, where neither was measured. `quiet_s`: a tier
    shrinks by a step after so long without a need for more. `every_s`: how often it is decided.
    """

    utilization: float = 0.7
    objective_s: float = 5.0
    catch_up_s: float = 60.0
    start_s: float = 20.0
    rebalance_s: float = 3.0
    quiet_s: float = 180.0
    every_s: float = 5.0


@dataclass(frozen=True)
class Insights:
    """Counts over live predictions, off the delivery path. `enabled`: `headrace up` runs a process for each ring.

    `export`: a directory, or a URL that fsspec knows, to which windows are written as Parquet; empty: they are not.
    """

    enabled: bool = False
    export: str = ""


@dataclass(frozen=True)
class Cell:
    """A share of a ring's tenants and the head workers that serve it. `max_workers`: what autoscaling may start; 0: as
    many as there are partitions. `max_heads`: tenants with heads, which `headrace status` warns of from 80 % on."""

    name: str = ""
    weight: float = 1.0
    partitions: int = 4
    workers: int = 1
    pins: tuple[str, ...] = ()
    max_workers: int = 0
    max_heads: int = 1_000


@dataclass(frozen=True)
class Ring:
    """A set of languages, their shared encoder, and the cells of its tenants.

    `workers`: encoder workers; on a CPU one for each core. `latency_ms`: the longest that one batch may take on a CPU;
    a row that takes longer is computed on a thread beside the batches. `threads`: of torch on a CPU (0: one).
    `embeddings_hours`: how long live embeddings are kept; replays of heads read them. `max_workers`: as of a cell.
    """

    name: str = ""
    languages: tuple[str, ...] = ()
    encoder: str = ""
    device: str = "auto"
    precision: str = "auto"
    partitions: int = 4
    workers: int = 1
    threads: int = 0
    latency_ms: float = 35.0
    max_batch_tokens: int = 4_096
    embeddings_hours: float = 1.0
    max_workers: int = 0
    cells: dict[str, Cell] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """Cell → weight, as `cells.cell_of` takes it."""
        return {name: cell.weight for name, cell in self.cells.items()}

    @property
    def pins(self) -> dict[str, tuple[str, ...]]:
        """Cell → pinned tenants, as `cells.cell_of` takes it."""
        return {name: cell.pins for name, cell in self.cells.items()}


@dataclass(frozen=True)
class Settings:
    """The whole of `headrace.toml`."""

    prefix: str = "headrace"
    state_dir: str = ".headrace"
    broker: Broker = field(default_factory=Broker)
    redis: Redis = field(default_factory=Redis)
    heads: Heads = Heads()
    limits: Limits = Limits()
    cache: Cache = Cache()
    quotas: Quotas = Quotas()
    topics: Topics = Topics()
    backfill: Backfill = Backfill()
    autoscale: Autoscale = Autoscale()
    insights: Insights = Insights()
    rings: dict[str, Ring] = field(default_factory=dict)

    @property
    def languages(self) -> dict[str, tuple[str, ...]]:
        """Ring → languages, as `rings.ring_of` takes it."""
        return {name: ring.languages for name, ring in self.rings.items()}
