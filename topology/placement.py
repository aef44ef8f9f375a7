"""Where tenants live now: what `headrace cell` and `headrace tenant` have changed, over what headrace.toml says.

Two kinds of records stand on the compacted topic of placements, as JSON:

    key `ring`          the ring's shares: the weight of each cell that takes tenants, and which cells are drained
    key `ring/tenant`   the cell that a tenant is pinned to

Each record also has `former`: what was so before, for as long as records may wait there. A record without `former` is
settled. A ring without a record of shares has all cells of headrace.toml.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from topology.cells import cell_of
from topology.errors import MalformedRecord
from topology.json_map import parse_json_map, shown
from topology.names import fault_of_name
from topology.pacing import PACING
from topology.settings import Ring

MAX_RECORD_BYTES = 1 << 20  # a ring of ten thousand cells has 300 KB
MAX_WEIGHT = 1e12


@dataclass(frozen=True)
class Shares:
    """Cell → weight of every cell that takes tenants of a ring. What is `draining` keeps its weight and takes none."""

    weights: Mapping[str, float]
    draining: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ring: Ring) -> Shares:
        """Those of headrace.toml."""
        return cls(dict(ring.weights))

    @property
    def taking(self) -> dict[str, float]:
        """Cell → weight of those that are not draining."""
        return {cell: weight for cell, weight in self.weights.items() if cell not in self.draining}

    def share(self, cell: str) -> float:
        """0..1: the part of the ring's tenants that the cell takes."""
        taking = self.taking
        return taking.get(cell, 0.0) / sum(taking.values()) if taking else 0.0

    def cell_of(self, tenant: str, pin: str = "") -> str:
        """Where `tenant` lives. A pin to a cell that takes no tenants does not hold."""
        return pin if pin in self.weights and pin not in self.draining else cell_of(tenant, self.taking, {})


    def left_for(self, now: Shares) -> frozenset[str]:
        """The cells that tenants may have left where these became `now`."""
        before, after = self.taking, now.taking
        only_removed = all(before.get(cell) == weight for cell, weight in after.items())
        return frozenset(before.keys() - after.keys() if only_removed else before.keys())


@dataclass(frozen=True)
class RingRecord:
    """The shares of a ring from now on; `former`: those before, while records may wait there."""

    ring: str
    now: Shares
    former: tuple[Shares, ...] = ()

    @property
    def key(self) -> bytes:
        """The compaction key."""
        return self.ring.encode()

    def to_bytes(self) -> bytes:
        """JSON, so that an operator can read the topic with any Kafka tool."""
        return json.dumps({**_body(self.now), "former": [_body(one) for one in self.former]}, sort_keys=True).encode()


@dataclass(frozen=True)
class PinRecord:
    """The cell that a tenant is pinned to from now on; empty: to none. `former`: cells where it was before, while
    records may wait there."""

    ring: str
    tenant: str
    cell: str
    former: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        """The compaction key."""
        return f"{self.ring}/{self.tenant}".encode()

    def to_bytes(self) -> bytes | None:
        """JSON; None, a tombstone, where nothing is left to say."""
        body = {"cell": self.cell, "former": list(self.former)}
        return json.dumps(body, sort_keys=True).encode() if self.cell or self.former else None


def _body(shares: Shares) -> dict[str, Any]:
    return {"weights": dict(shares.weights), "draining": sorted(shares.draining)}


def parse(key: bytes | None, value: bytes | None) -> RingRecord | PinRecord:
    """What a record says. Raises: MalformedRecord, and nothing else: also for a tombstone of a ring's shares, which no
    command writes."""
    ring, slash, tenant = _names(key)
    try:
        if value is None and slash:
            return PinRecord(ring, tenant, "")
        body = parse_json_map(value or b"", MAX_RECORD_BYTES)
        former = body.get("former", [])
        if not isinstance(former, list):
            raise ValueError(f"former: a list is wanted, not {shown(former)}")
        if not slash:
            return RingRecord(ring, _shares(body), tuple(_shares(one) for one in former))
        return PinRecord(ring, tenant, _cell(body.get("cell"), empty=True), tuple(_cell(one) for one in former))
    except ValueError as error:
        raise MalformedRecord(f"placement of {shown(key)}: {str(error)[:200]}") from error


def _names(key: bytes | None) -> tuple[str, str, str]:
    try:
        ring, slash, tenant = (key or b"").decode().partition("/")
    except UnicodeDecodeError as error:
        raise MalformedRecord(f"placement key {shown(key)}: not UTF-8") from error
    for what, name in (("ring", ring), *((("tenant", tenant),) if slash else ())):
        if fault := fault_of_name(name):
            raise MalformedRecord(f"placement key {shown(key)}: {what}: {fault}")
    return ring, slash, tenant


def _shares(body: Any) -> Shares:
    weights, draining = (body.get("weights"), body.get("draining", [])) if isinstance(body, dict) else (None, None)
    if not isinstance(weights, dict) or not isinstance(draining, list):
        raise ValueError("weights: a map of cells is wanted, and draining: a list of them")
    for cell, weight in weights.items():
        _cell(cell)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < MAX_WEIGHT:
            raise ValueError(f"weights: {shown(cell)}: a number above 0 is wanted, not {shown(weight)}")
    shares = Shares({cell: float(weight) for cell, weight in weights.items()}, frozenset(map(_cell, draining)))
    if not shares.taking:
        raise ValueError("weights: no cell is left that takes tenants")
    return shares


def _cell(value: Any, empty: bool = False) -> str:
    if empty and value == "":
        return ""
    if fault := fault_of_name(value):
        raise ValueError(f"cell: {fault}")
    return str(value)


@dataclass
class _Left:
    """A cell that this process has sent a tenant's records to before it heard of a change, and when it heard."""

    cells: frozenset[str]
    at_s: float


@dataclass
class Placement:
    """Where the tenants of one ring live, as far as this process has heard."""

    ring: Ring
    clock: Callable[[], float] = time.monotonic
    on_change: Callable[[], None] = lambda: None
    shares: Shares = field(init=False)
    version: int = 0  # another one after each change
    is_told: bool = False  # whether a record says the shares; else they are those of headrace.toml
    former_shares: tuple[Shares, ...] = ()  # those before, while they are not settled
    _pins: dict[str, PinRecord] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)  # tenant → cell, for as long as nothing changes
    _left_told: dict[str, frozenset[str]] = field(default_factory=dict)  # tenant → former cells, the same
    _before: list[tuple[Shares, float]] = field(default_factory=list)  # shares that this process worked by, until when
    _left: dict[str, _Left] = field(default_factory=dict)
    _shared_s: float = float("-inf")  # the last change of shares
    _changed_s: float = float("-inf")  # the last change of any kind

    def __post_init__(self) -> None:
        self.shares = Shares.of(self.ring)
        self._of_file = {tenant: cell for cell, tenants in self.ring.pins.items() for tenant in tenants}

    def apply(self, record: RingRecord | PinRecord) -> None:
        """A record of the topic, in its order; those of other rings change nothing."""
        if record.ring != self.ring.name:
            return
        now_s = self.clock()
        if isinstance(record, PinRecord):
            self._pin(record, now_s)
        else:
            self._share(record, now_s)
        self.version += 1
        self.on_change()

    def _pin(self, record: PinRecord, now_s: float) -> None:
        tenant, before = record.tenant, self.cell_of(record.tenant)
        if record.cell or record.former:
            self._pins[tenant] = record
        else:
            self._pins.pop(tenant, None)
        for told in (self._told, self._left_told):
            told.pop(tenant, None)
        self._changed_s = now_s
        if self.cell_of(tenant) != before:
            left = self._left.pop(tenant, None)
            self._left[tenant] = _Left(frozenset({before, *(left.cells if left else ())}), now_s)

    def _share(self, record: RingRecord, now_s: float) -> None:
        if record.now != self.shares:
            self._before.append((self.shares, now_s))
            self._shared_s = now_s
        self._changed_s = now_s
        self.shares, self.former_shares, self.is_told = record.now, record.former, True
        for told in (self._told, self._left_told):
            told.clear()

    def reckon(self, shares: Shares) -> None:
        """As if the shares were these: to say who would live where."""
        self.shares, self._told = shares, {}

    def forget_before(self) -> None:
        """What was applied so far is where this process begins: it has sent nothing yet."""
        for gone in (self._before, self._left, self._left_told):
            gone.clear()
        self._shared_s = self._changed_s = float("-inf")

    def cell_of(self, tenant: str) -> str:
        """Where a tenant's records go."""
        cell = self._told.get(tenant)
        if cell is None:
            if len(self._told) >= PACING.max_placed:
                self._told.clear()
            cell = self._told[tenant] = self.shares.cell_of(tenant, self.pin(tenant))
        return cell

    def pin(self, tenant: str) -> str:
        """The cell that the tenant is pinned to, by a command or else by headrace.toml; empty where it is not."""
        pinned = self._pins.get(tenant)
        return pinned.cell if pinned and pinned.cell else self._of_file.get(tenant, "")

    def file_pin(self, tenant: str) -> str:
        """The cell that headrace.toml pins the tenant to; empty where to none."""
        return self._of_file.get(tenant, "")

    def former(self, tenant: str) -> frozenset[str]:
        """Other cells where records of the tenant may wait: by what records say, and by what this process did."""
        if not self.moving and tenant not in self._pins:
            return frozenset()
        if (known := self._left_told.get(tenant)) is not None:
            return known
        pin = self.pin(tenant)
        found = {shares.cell_of(tenant, pin) for shares in (*self.former_shares, *(one for one, _ in self._before))}
        if pinned := self._pins.get(tenant):
            found.update(pinned.former)
        if left := self._left.get(tenant):
            found.update(left.cells)
        known = self._left_told[tenant] = frozenset(found - {self.cell_of(tenant)})
        return known

    @property
    def moving(self) -> bool:
        """Whether a change is not settled, or was heard of lately."""
        if self._before or self._left:
            oldest_s = self.clock() - PACING.move_kept_s
            while self._before and self._before[0][1] < oldest_s:
                self._before.pop(0)
                self._left_told.clear()
            while self._left and next(iter(self._left.values())).at_s < oldest_s:
                self._left_told.pop(tenant := next(iter(self._left)), None)
                del self._left[tenant]
            if len(self._left_told) >= PACING.max_placed:
                self._left_told.clear()
        return bool(self.former_shares or self._before or self._left)

    def changed_s(self, tenant: str) -> float:
        """When this process heard of the last change that may have moved the tenant, by its clock."""
        left = self._left.get(tenant)
        return max(self._shared_s, left.at_s if left else self._shared_s)

    @property
    def changed_lately(self) -> bool:
        """Whether this process heard of a change within the last `pacing.move_hold_s`: records may be held back."""
        return self.clock() - self._changed_s < PACING.move_hold_s

    @property
    def pins(self) -> Mapping[str, PinRecord]:
        """Tenant → the record of its pin."""
        return self._pins
