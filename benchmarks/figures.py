"""Fills README.md and docs/BENCHMARKS.md with the figures of docs/benchmarks/*.json, so that none is typed.

    python -m benchmarks.figures --write    # fill the pages (make figures)
    python -m benchmarks.figures            # status 1 and the names of the pages that differ

A page holds `<!-- figures: NAME -->` and `<!-- figures end -->`; what stands between comes from `BLOCKS[NAME]`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    goals,
    tables,
    tables_heads,
    tables_plan,
    tables_replays,
    tables_scaling,
    tables_zones,
)
from benchmarks.results import Results
from infra.plan import rates

ROOT = Path(__file__).parents[1]
PAGES = tuple(ROOT / name for name in (
    "README.md", "docs/BENCHMARKS.md", "docs/REPLAYS.md", "docs/SCALING.md", "docs/ZONES.md", "docs/PLAN.md",
    "docs/TRAINING.md", "docs/benchmarks/README.md",
))
BLOCKS: dict[str, Callable[[Results], str]] = {
    "summary": tables.summary, "runs": tables.runs, "goals": goals.goals, "engines": tables.engines,
    "pipeline": tables.pipeline, "costs": tables.costs, "repeated": tables_heads.repeated, "heads": tables_heads.heads,
    "memory": tables_heads.memory, "accuracy": tables_heads.accuracy, "gpu": tables_heads.gpu,
    "rates": tables_heads.rates, "first_hour": tables_heads.first_hour, "replays": tables_replays.replays,
    "zones": tables_zones.zones, "zone_fetches": tables_zones.fetches, "zone_costs": tables_zones.zone_costs,
    "steps": tables_plan.steps, "fleet": tables_plan.measured, "changed": tables_plan.changed,
    "autoscale": tables_scaling.autoscale, "predicted": tables_scaling.predicted,
}
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n)(.*?)(<!-- figures end -->)", re.DOTALL)


def filled(page: str, results: Results) -> str:
    """The page with every block as the results give it. Raises: KeyError for a block that is not in BLOCKS."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]](results)}\n{found[4]}", page)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or say which differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="fill the pages")
    args = parser.parse_args(argv)
    results, differing = Results(), 0
    built_in = rates.written(tables_plan.rates_of(results))  # what `headrace plan` reckons with
    for place in (rates.BUILT_IN, *PAGES):
        page = place.read_text(encoding="utf-8")
        if (wanted := built_in if place == rates.BUILT_IN else filled(page, results)) == page:
            continue
        if args.write:
            place.write_text(wanted, encoding="utf-8")
        else:
            differing = 1
        print(f"{place.relative_to(ROOT)}: {'written' if args.write else 'differs; run make figures'}")
    return differing


if __name__ == "__main__":
    sys.exit(main())
