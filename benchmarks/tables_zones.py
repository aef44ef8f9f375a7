"""The figures of docs/ZONES.md."""

from __future__ import annotations

from benchmarks.results import Results, percent, show, table
from infra.zone_cost import GB_PRICE, Crossing, crossing_of

FILE = "zones"
PARTS = {"before": "before", "killed": "a zone is killed", "back": "it comes back"}
KINDS = {"leader": "without `broker.rack`", "nearest": "with `broker.rack`"}
RATES = (100.0, 5_000.0)


def zones(results: Results) -> str:
    """What the loss of a zone cost callers."""
    rows = []
    for name, words in PARTS.items():
        part = f"{FILE}/parts/{name}"
        figures = [show(results.number(f"{part}/{key}")) for key in ("asked", "p50_ms", "p99_ms", "most_ms")]
        rows.append([words, *figures, show(results.number(f"{part}/recovery_s"), 1)])
    names = ("lost", "refused", "twice", "twice_unexplained")
    lost, refused, twice, unexplained = (results.get(f"{FILE}/{name}") for name in names)
    counts = (f"Of {show(results.number(f'{FILE}/asked'))} utterances at {show(results.number(f'{FILE}/per_s'))}/s "
              f"{_count(lost)} were lost, {_count(refused)} refused by name, and {_count(twice)} have two results, "
              f"of which {_count(unexplained)} were not in flight at the time. The ids stand in "
              "`docs/benchmarks/zones.json`.")
    header = ("part", "utterances", "p50, ms", "p99, ms", "longest, ms", "s until all replies come within 1 s again")
    return f"{table(header, rows)}\n\n{counts}"


def fetches(results: Results) -> str:
    """What fetching from one's own zone does to bytes and to latency."""
    rows = []
    for kind, words in KINDS.items():
        of = f"{FILE}/fetches/{kind}"
        rows.append([words, percent(results.number(f"{of}/own_share")),
                     *(show(results.number(f"{of}/p{q}_ms"), 1) for q in (50, 90, 99))])
    return table(("", "bytes fetched within the zone", "p50, ms", "p90, ms", "p99, ms"), rows)


def zone_costs(results: Results) -> str:
    """GB a day from zone to zone at two rates."""
    sizes = results.get(f"{FILE}/record_bytes") or {}
    each = {kind: next((size for name, size in sizes.items() if name.endswith(f".{kind}")), 0.0)
            for kind in ("utterances", "embeddings", "predictions")}
    crossing = crossing_of("", 0.0, sum(each.values()), each["utterances"] + each["embeddings"], 3)
    rows = [_cost(crossing, rate) for rate in RATES]
    header = ("utterances/s", "written, GB a day", "replicated", "fetched without `broker.rack`", "with",
              f"saved a day at {GB_PRICE:g} for each GB")
    bytes_each = ", ".join(f"{kind} {show(size)} B" for kind, size in each.items())
    return f"Measured bytes a record: {bytes_each}.\n\n{table(header, rows)}"


def _cost(crossing: Crossing, rate: float) -> list[str]:
    def gb(size: float) -> float:
        return Crossing("", 0.0, size, 0.0, 0.0).gb_a_day(rate, nearest=True)

    saved = crossing.gb_a_day(rate, nearest=False) - crossing.gb_a_day(rate, nearest=True)
    amounts = (crossing.written, crossing.replicated, crossing.fetched)
    return [show(rate), *(show(gb(size)) for size in amounts), "0", f"{show(saved)} GB, {show(saved * GB_PRICE, 2)}"]


def _count(ids: object) -> str:
    return str(len(ids)) if isinstance(ids, list | dict) else "–"
