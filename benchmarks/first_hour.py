"""What training prints of small tenants against what other lines give: tenants cut by chance from public sets.

Each tenant has 50 to 300 lines of a set (CLINC150 with 8 to 20 of its intents and 5 to 20 lines out of scope, Snips,
xSID in English and German, ATIS, smart homes), trains as `headrace head train` does, and its head is scored on up to
300 other lines of the same kind. `difference`: printed less unseen, in points. `covered`: whether the printed interval
of 95 % holds the unseen figure.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.accuracy import CONFIG
from benchmarks.report import Result
from head_worker.load import load_head
from infra import heads
from infra.assets.datasets import atis, home_assistant
from infra.assets.weights import encoder_directory
from infra.training.evaluate import Labelled, evaluate
from infra.training.examples import OUT_OF_SCOPE, Example
from infra.training.fit import Target, fit
from infra.training.model import SIZES
from infra.training.reading import found_in, rows_of
from infra.training.recipe import Recipe
from topology.addresses import load_placed
from topology.encoders import cache_dir
from topology.settings import Ring, Settings

UNSEEN = 300
SCORES = ("intent_accuracy", "span_f1", "sentence_accuracy")


@dataclass(frozen=True)
class Plan:
    """`data`: the folder of CLINC150, Snips and xSID as their authors published them. `epochs` 0: training's own."""

    data: Path
    tenants: int = 20
    encoder: str = "minilm-l6"
    size: str = "compact"
    epochs: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Tenant:
    """A set's lines in two parts."""

    name: str
    train: list[Example]
    unseen: list[Example]


def run(plan: Plan) -> Result:
    """Each tenant's figures, their mean difference, and the share of intervals that cover."""
    encoder = encoder_directory(plan.encoder, cache_dir() / "encoders")
    with tempfile.TemporaryDirectory(prefix="headrace-first-hour-") as home:
        config = Path(home) / "headrace.toml"
        config.write_text(CONFIG.format(home=home, encoder=encoder, precision="int8"))
        settings = load_placed(config)
        return _over(plan, settings, settings.rings["en"])


def _over(plan: Plan, settings: Settings, ring: Ring) -> Result:
    rows: list[dict[str, Any]] = []
    for one in tenants(plan):
        rows.append(_figures(plan, settings, ring, one))
        print(rows[-1], flush=True)
    found: dict[str, Any] = {}
    for name in SCORES:
        ones = [row[name] for row in rows if name in row]
        if ones:
            found[name] = {
                "difference_mean": mean(one["difference"] for one in ones),
                "difference_worst": max((one["difference"] for one in ones), key=abs),
                "covered": mean(one["covered"] for one in ones), "unseen_mean": mean(one["unseen"] for one in ones),
                "tenants": len(ones),
            }
    scopes = [row["out_of_scope"] for row in rows if row["out_of_scope"]]
    outside = {name: mean(one[name] for one in scopes) for name in (scopes[0] if scopes else ())}
    return {**found, "out_of_scope": outside, "by_tenant": rows, "protocol": " ".join((__doc__ or "").split()),
            "train_s": mean(row["train_s"] for row in rows)}


def tenants(plan: Plan) -> list[Tenant]:
    """The same for the same seed."""
    sets = _sets(plan.data)
    found = []
    for number in range(plan.tenants):
        draw = random.Random(f"{plan.seed} {number}")
        name = sorted(sets)[number % len(sets)]
        found.append(_tenant(f"{name}-{number}", sets[name], draw, draw.randint(50, 300)))
    return found


def _tenant(name: str, lines: Sequence[Example], draw: random.Random, count: int) -> Tenant:
    strange = [one for one in lines if one.intent == OUT_OF_SCOPE]
    intents = sorted({one.intent for one in lines if one.intent != OUT_OF_SCOPE})
    kept = set(draw.sample(intents, min(len(intents), draw.randint(8, 20))))
    texts = {one.text.casefold(): one for one in lines if one.intent in kept}
    order = draw.sample(sorted(texts), len(texts))
    count = min(count, len(order) // 2)
    train, unseen = ([texts[text] for text in part] for part in (order[:count], order[count : count + UNSEEN]))
    known = {one.intent for one in train}
    unseen = [one for one in unseen if one.intent in known]
    if strange:
        outside = draw.sample(strange, min(len(strange), UNSEEN + 20))
        few = draw.randint(5, 20)
        train, unseen = [*train, *outside[:few]], [*unseen, *outside[20:]]
    return Tenant(name, draw.sample(train, len(train)), unseen)


def _sets(data: Path) -> dict[str, list[Example]]:
    sets = {"atis": [*atis("train"), *atis("dev")], "home": home_assistant("en", 1_500, 1)}
    for name, place in (("clinc", data / "clinc150" / "data_full.json"), ("snips", data / "snips")):
        found = found_in([place])
        sets[name] = [row.example for split in found.splits for row in found.of(split)]
    for language in ("en", "de"):
        parts = [found_in([data / "xsid" / f"{language}.{split}.conll"]) for split in ("valid", "test")]
        rows = [row for part in parts for row in rows_of(part, str(data), part.splits[0], (), 1)]
        sets[f"xsid-{language}"] = [row.example for row in rows]
    return sets


def _figures(plan: Plan, settings: Settings, ring: Ring, tenant: Tenant) -> dict[str, Any]:
    embedder = heads.Embedder(settings, ring)
    rows = embedder.rows([*tenant.train, *tenant.unseen])
    given, unseen = rows[: len(tenant.train)], rows[len(tenant.train) :]
    recipe = Recipe(epochs=plan.epochs, size=SIZES[plan.size])
    with tempfile.TemporaryDirectory(prefix="headrace-first-hour-") as home:
        start, spent = time.monotonic(), time.process_time()
        metrics = fit(Target("bench", ring.name, embedder.space), given, None, Path(home), recipe).metrics
        took = {"train_s": time.monotonic() - start, "train_cpu_s": time.process_time() - spent}
        found = evaluate(load_head(Path(home)), unseen)
    return {**_compared(metrics, found.as_dict(), given), **took, "tenant": tenant.name,
            "out_of_scope": found.out_of_scope, "printed_out_of_scope": metrics["out_of_scope"]}


def _compared(metrics: dict[str, Any], unseen: dict[str, Any], given: Sequence[Labelled]) -> dict[str, Any]:
    row: dict[str, Any] = {"lines": len(given), "unseen_lines": unseen["examples"]}
    for name in SCORES:
        if name == "span_f1" and not unseen["spans"]:
            continue
        below, above = metrics["intervals"][name]
        row[name] = {
            "printed": 100 * metrics[name], "unseen": 100 * unseen[name], "interval": [100 * below, 100 * above],
            "difference": 100 * (metrics[name] - unseen[name]), "covered": below <= unseen[name] <= above,
        }
    return row


def plot(result: Result) -> Any:
    """Printed over unseen, with the intervals that were printed."""
    def draw(axes: Any) -> None:
        ones = [row["intent_accuracy"] for row in result["by_tenant"]]
        axes.plot([50, 100], [50, 100], color="gray", linestyle="--")
        for one in ones:
            axes.plot([one["unseen"]] * 2, one["interval"], color="#2c7fb8", alpha=0.5)
        axes.plot([one["unseen"] for one in ones], [one["printed"] for one in ones], "o", color="#2c7fb8")
        axes.set(xlabel="intent accuracy on unseen lines, %", ylabel="printed, with its interval, %")

    return draw
