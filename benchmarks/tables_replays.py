"""The figures of docs/REPLAYS.md."""

from __future__ import annotations

from benchmarks.goals import Goal, at
from benchmarks.results import Results, show, table

FILE = "backfill"
GOALS = (
    Goal("alone, utterances to predictions, over the bare engines", 0.90, at(f"{FILE}/share_of_bare")),
    Goal("heads alone, embeddings to predictions, over the bare heads", 0.85, at(f"{FILE}/heads_share_of_bare")),
    Goal("live at half its knee, p99 with a replay flat out", 20, at(f"{FILE}/live_p99_gain", 100), False, 0, "% more"),
    Goal("live and replay together, of the saturated rate", 0.90, at(f"{FILE}/together_share_of_saturated")),
    Goal("10⁶ utterances of a tenant: growth of memory after the first fifth", 20,
         at(f"{FILE}-month/growth_after_a_fifth_mb"), False, 0, "MB"),
    Goal("several processes on one GPU, utterances/s", 20_000, at(f"{FILE}-workers/per_s"), digits=0),
)


def replays(results: Results) -> str:
    """Goals of replays, and the figures behind them."""
    number = results.number
    rates = (
        f"Alone {show(number(f'{FILE}/alone_per_s'))}/s (bare engines {show(number(f'{FILE}/bare_per_s'))}/s), heads "
        f"alone {show(number(f'{FILE}/heads_per_s'))}/s (bare {show(number(f'{FILE}/bare_heads_per_s'))}/s). Live at "
        f"{show(number(f'{FILE}/live_per_s'))}/s: p50 / p90 / p99 "
        f"{_latencies(results, 'alone')} ms alone, {_latencies(results, 'beside')} ms beside a replay of "
        f"{show(number(f'{FILE}/beside_per_s'))}/s; saturated {show(number(f'{FILE}/saturated_per_s'))}/s. A month of "
        f"a tenant: {show(number(f'{FILE}-month/utterances'))} utterances at {show(number(f'{FILE}-month/per_s'))}/s."
    )
    return f"{rates}\n\n" + table(("figure", "goal", "measured", ""), [goal.row(results) for goal in GOALS])


def _latencies(results: Results, which: str) -> str:
    return " / ".join(show(results.number(f"{FILE}/live_{which}_p{q}_ms")) for q in (50, 90, 99))
