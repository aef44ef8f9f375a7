"""The tables of docs/PLAN.md: what many tenants need, and what was measured to know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.results import Results, show, table
from infra.plan.asked import Asked, read_languages
from infra.plan.fleet import Plan, plan
from infra.plan.limits import Limit, first, limits
from infra.plan.prices import read_prices
from infra.plan.rates import WANTED, Rates, built_in, gather

TENANTS = (10**3, 10**4, 10**5, 10**6, 10**7)
PER_S = (10**2, 10**3, 10**4, 10**5, 10**6)
LANGUAGES = "en:4,de:2,fr:2,es,it"


def rates_of(results: Results) -> Rates:
    """Those that come with Headrace, as the result files have them."""
    found = gather({f"{name}.json": one for name, one in results.files.items()})
    return found if WANTED.keys() == found.figures.keys() and found.curve else built_in()


def steps(results: Results) -> str:
    """From 10³ to 10⁷ tenants and 10² to 10⁶ utterances a second."""
    rates, (currency, prices) = rates_of(results), read_prices()
    rows = []
    for tenants in TENANTS:
        for per_s in PER_S:
            found = plan(Asked(tenants, per_s, read_languages(LANGUAGES)), rates, currency, prices)
            rows.append([f"{tenants:,}", f"{per_s:,}", *_step(found)])
    return table(("tenants", "utterances/s", "cells", "partitions", "brokers", "encoders", "head workers",
                  "memory of heads, GB", "Redis, GB", "disks, TB", "stacks", "cost a month, k$", "whole models, k$",
                  "breaks or is next to break"), rows)


def _step(found: Plan) -> list[str]:
    fleet, cost, whole = found.fleet, found.cost, found.whole
    on_gpus = cost["encoders_on_gpus"] < cost["encoders_on_cpus"]
    encoders = f"{show(fleet['gpus'])} GPUs" if on_gpus else f"{show(fleet['encoder_workers'])} cores"
    worst: dict[str, Limit] = {}  # of all rings; limits come worst first
    for one in limits(found):
        worst.setdefault(one.short, one)
    broken = [one for one in worst.values() if one.times > 1]
    said = "; ".join(f"**{one.short}** ×{show(one.times, 1)}" for one in broken)
    nearest = first(found)
    return [
        show(fleet["cells"]), show(fleet["all_partitions"]), show(fleet["brokers"]), encoders,
        show(fleet["head_workers"]), show(fleet["head_memory_gb"]), show(fleet["redis_gb"], 1),
        show(fleet["disk_gb"] / 1_000, 1), show(fleet["stacks"]), show(cost["total"] / 1_000, 1),
        show(whole["whole_total"] / 1_000, 1), said or f"{nearest.short} at {nearest.times:.0%}".replace("%", " %"),
    ]


def measured(results: Results) -> str:
    """What was measured for it, with 10⁷ reckoned from the largest."""
    return "\n\n".join([_registry(results), _cells(results), _replies(results), _store(results)])


def _sizes(results: Results, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = results.get(f"{name}/sizes") or []
    return found


def _row(sizes: list[dict[str, Any]], name: str, digits: int = 0, times: float = 1.0) -> list[str]:
    return [show(one[name] * times, digits) for one in sizes]


def _registry(results: Results) -> str:
    sizes = _sizes(results, "registry")
    if not sizes:
        return "registry: not measured"
    reckoned = {**sizes[-1], "records": 10**7}

    def row(name: str, value: Callable[[dict[str, Any]], float], digits: int) -> list[str]:
        return [name, *(show(value(one), digits) for one in [*sizes, reckoned])]

    return table(("heads in the registry", *(f"{one['records']:,}" for one in sizes), "10,000,000, reckoned"), [
        row("a head worker is ready after, s of a core", lambda one: one["us_a_record"] * one["records"] / 1e6, 1),
        row("it keeps, MB", lambda one: one["bytes_a_record"] * one["records"] / 1e6, 0),
        row("at most meanwhile, MB", lambda one: one["peak_bytes_a_record"] * one["records"] / 1e6, 0),
        row("if all are of another ring, s", lambda one: one["other_ring_us_a_record"] * one["records"] / 1e6, 1),
        row("the topic, MB a replica", lambda one: one["bytes_on_topic"] * one["records"] / 1e6, 0),
    ])


def changed(results: Results) -> str:
    """The registry's readers of the release before and of now, in turn over the same topics."""
    sizes, before = _sizes(results, "registry"), results.get("registry/beside") or []
    if not before:
        return "Not measured beside the code before."
    rows = [
        [label, *(f"{show(old[name] * times, digits)} → {show(new[name] * times, digits)}"
                  for old, new in zip(before, sizes, strict=True))]
        for label, name, times, digits in (
            ("a head worker is ready, µs a record", "us_a_record", 1, 1),
            ("it keeps, bytes a record", "bytes_a_record", 1, 0),
            ("at most meanwhile, bytes a record", "peak_bytes_a_record", 1, 0),
            ("a record of another ring, µs", "other_ring_us_a_record", 1, 1),
            ("`rollback` looks for one tenant, MB at most", "lookup_peak_mb", 1, 0),
        )
    ]
    return table(("before → now", *(f"{one['records']:,} heads" for one in sizes)), rows)


def _cells(results: Results) -> str:
    sizes = _sizes(results, "cells")
    if not sizes:
        return "cells: not measured"
    return table(("cells of a ring", *(f"{one['cells']:,}" for one in sizes)), [
        ["the cell of a tenant, the first time, µs", *_row(sizes, "first_us", 1)],
        ["again, µs", *_row(sizes, "again_us", 2)],
    ])


def _replies(results: Results) -> str:
    number = results.number
    each, kept_s, once_s = (number(f"replies/{name}") for name in ("bytes_a_reply", "kept_s", "one_reader_kept_s"))
    if each is None or kept_s is None or once_s is None:
        return "replies: not measured"
    return (
        f"A reply takes {show(each)} bytes in Redis; {show(number('replies/bytes_of_value'))} of them are the reply. "
        f"On a caller's stream it takes {show(number('replies/bytes_on_stream'))}. The stream keeps "
        f"{show(number('replies/stream_replies'))}: {show(number('replies/stream_mb'))} MB for each that asks. "
        f"At 10,000/s: {show(1e4 * kept_s * each / 1e9, 1)} GB where each is kept for an hour, "
        f"{show(1e4 * once_s * each / 1e9, 1)} GB where each has one reader and goes after {show(once_s)} s."
    )


def _store(results: Results) -> str:
    sizes = _sizes(results, "store")
    if not sizes:
        return "store: not measured"
    return table(("tenants in the head store", *(f"{one['tenants']:,}" for one in sizes)), [
        ["storing a version, ms of a core", *_row(sizes, "put_ms", 2)],
        ["its versions (`headrace head list`), ms", *_row(sizes, "versions_ms", 2)],
        ["its manifest, ms", *_row(sizes, "manifest_ms", 2)],
        ["a first copy for a worker, ms", *_row(sizes, "folder_ms", 2)],
        ["every tenant's name (nothing of ours asks), s", *_row(sizes, "all_names_s", 3)],
        ["files and folders", *[show(one["files"] + one["folders"]) for one in sizes]],
    ])
