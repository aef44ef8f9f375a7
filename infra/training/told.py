"""What a head's metrics say, in words: with how many lines they were counted on, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.counted import counted
from infra.training.calibrate import LEAST
from infra.training.examples import SHOWN, Example
from infra.training.folds import rare
from topology.heads import HeadManifest

Metrics = Mapping[str, Any]
NAMES = {"intent_accuracy": "intent accuracy", "span_f1": "span F1", "sentence_accuracy": "sentence accuracy"}
KEPT = 0.95  # of what is in scope: below it a warning
FOUND = 0.5  # of what is out of scope: below it a warning


def score(metrics: Metrics, name: str) -> str:
    """A score and its interval of 95 %, or that it cannot be told; `metrics` of an older head have no interval."""
    count = metrics.get("examples")
    if name not in metrics or (count is not None and count < LEAST):
        return f"cannot be told from {counted(int(metrics.get('lines', count) or 0), 'line')}"
    interval = metrics.get("intervals", {}).get(name)
    between = f" ({interval[0]:.1%} to {interval[1]:.1%})" if interval else ""
    return f"{metrics[name]:.1%}{between}"


def has_spans(metrics: Metrics) -> bool:
    """Whether there were entities to find; of an older head, whether it knows any."""
    return bool(metrics.get("spans", metrics.get("span_f1_by_label")))


def how(metrics: Metrics) -> str:
    """On how many lines the scores were counted, and which."""
    count, way = metrics.get("examples"), str(metrics.get("evaluation", "held out"))
    if count is None:
        return way
    return "none: no intent has a second line to hold out" if way == "none" else f"{counted(count, 'line')}, {way}"


def out_of_scope(metrics: Metrics) -> str:
    """What the threshold keeps and finds."""
    found = metrics.get("out_of_scope")
    if not found or "in_scope_kept" not in found:
        return "no examples of what is out of scope: it keeps about 99 % of what is in scope"
    return (f"keeps {found['in_scope_kept']:.1%} of in-scope, finds {found['out_of_scope_found']:.1%} of "
            f"{counted(int(found['examples']), 'out-of-scope line')}")


def lines_of(manifest: HeadManifest) -> Iterator[str]:
    """The metrics of a head for a terminal."""
    metrics = manifest.metrics
    yield f"unseen lines ({how(metrics)}): " + ", ".join(
        f"{title} {score(metrics, name)}" for name, title in NAMES.items()
        if name == "intent_accuracy" or has_spans(metrics)
    )
    if has_spans(metrics) and metrics.get("examples", LEAST) >= LEAST:
        for label, value in sorted(metrics["span_f1_by_label"].items()):
            yield f"  {label:32} {value:.1%}"
    if "examples" not in metrics:
        return
    if not manifest.out_of_scope_threshold:
        yield "out of scope: nothing is refused: too few lines to find a threshold"
    else:
        yield f"out of scope: {out_of_scope(metrics)}"
    if (found := metrics.get("out_of_scope")) and found.get("in_scope_kept", 1.0) < KEPT:
        yield f"warning: {1 - found['in_scope_kept']:.1%} of what is in scope is refused; --keep sets the bound"
    elif found and found["out_of_scope_found"] < FOUND:
        yield (f"warning: {1 - found['out_of_scope_found']:.0%} of what is out of scope is answered as if it were in "
               "scope; more lines of both find more, and so does --keep 0.9")


def summary(manifest: HeadManifest) -> str:
    """A head and its scores in one line."""
    metrics = manifest.metrics
    scores = ", ".join(f"{title} {score(metrics, name)}" for name, title in NAMES.items()
                       if name == "intent_accuracy" or (name == "span_f1" and has_spans(metrics)))
    return f"{counted(len(manifest.intents), 'intent')}, {how(metrics)}: {scores}"


def lone(examples: Sequence[Example]) -> Iterator[str]:
    """What only one line has, and what that costs."""
    kinds = sorted(rare(examples, range(len(examples))))
    if kinds:
        names = ", ".join(f"{kind} {name}" for kind, name in kinds[:SHOWN])
        yield (f"warning: only one line has {names}{' …' if len(kinds) > SHOWN else ''}: it teaches, and how well it "
               "is found cannot be told")


def lines_of_test(metrics: Metrics) -> Iterator[str]:
    """The scores on a test file; what is in scope and what is not, apart."""
    found = metrics["out_of_scope"]
    if metrics["examples"]:
        yield f"{counted(metrics['examples'], 'line')} in scope: " + ", ".join(
            f"{title} {score({**metrics, 'examples': max(LEAST, metrics['examples'])}, name)}"
            for name, title in NAMES.items() if name == "intent_accuracy" or has_spans(metrics)
        ) + (", whatever the threshold refuses" if found else "")
    if found:
        more = (f", precision {found['precision']:.1%}, AUROC {found['auroc']:.3f}; "
                f"keeps {found['in_scope_kept']:.1%} of in-scope, right and kept "
                f"{found['accuracy_with_threshold']:.1%}") if "in_scope_kept" in found else "; none is in scope"
        lines, share = counted(int(found["examples"]), "line"), found["out_of_scope_found"]
        yield f"{lines} out of scope: finds {share:.1%} (recall){more}"
