"""One HTML file on a trained head: its scores, what it confuses, and whether its confidences mean what they say."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path
from typing import Any

from infra.training.told import has_spans, how, out_of_scope, score
from topology.heads import HeadManifest

PLOT = 260
LONG = 32  # characters of a label in the matrix
MOST_INTENTS = 40  # a larger matrix shows the intents that are confused most

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1d2733 }
table { border-collapse: collapse; margin: .5rem 0 } td, th { padding: .15rem .5rem; text-align: right }
th[scope=row], td.name { text-align: left; font-weight: normal } .matrix td { min-width: 1.6rem; font-size: 12px }
.matrix th.column { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; font-weight: normal }
.bar { background: #2c7fb8; height: .7rem; display: inline-block } .scroll { overflow-x: auto }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1rem } dt { color: #5a6b7d }
"""


def write_report(manifest: HeadManifest, place: Path) -> Path:
    """Write the page, which needs nothing beside it, and return where it is."""
    metrics = manifest.metrics
    title = html.escape(f"{manifest.tenant} {manifest.version}")
    body = (
        f"<h1>Head of {title}</h1>{_summary(manifest, metrics)}<h2>Entities, F1 by label</h2>"
        f"{_labels(metrics['span_f1_by_label'] if has_spans(metrics) else {})}"
        f"<h2>Intents, wanted (rows) and said (columns)</h2>"
        f"{confusion(metrics.get('confusion', []))}<h2>Calibration</h2>{_calibration(metrics)}"
    )
    place.write_text(document(title, body), encoding="utf-8")
    return place


def document(title: str, body: str, style: str = STYLE) -> str:
    """A page of its own, of a title and a body that are HTML already."""
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{style}</style>{body}</html>"
    )


def _summary(manifest: HeadManifest, metrics: dict[str, Any]) -> str:
    facts = {
        "ring, space": f"{manifest.ring}, {manifest.space}", "intents": str(len(manifest.intents)),
        "intent accuracy": score(metrics, "intent_accuracy"),
        **({"entity F1": score(metrics, "span_f1")} if has_spans(metrics) else {}),
        "whole utterance right": score(metrics, "sentence_accuracy"),
        "temperature": f"{manifest.temperature:.3f}",
        "out of scope": _refused(manifest),
        "system entities": ", ".join(manifest.system_entities) or "none",
    }
    rows = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in facts.items())
    return f"<p>All figures are of lines that did not teach the head: {html.escape(how(metrics))}.</p><dl>{rows}</dl>"


def _refused(manifest: HeadManifest) -> str:
    least = manifest.out_of_scope_max_logit
    told = out_of_scope(manifest.metrics)
    if not manifest.out_of_scope_threshold:
        return "nothing is refused"
    by = f"confidence of {manifest.out_of_scope_threshold:.3f}" if least is None else f"max logit of {least:.3f}"
    return f"below a {by}: {told}"


def _labels(scores: dict[str, float]) -> str:
    if not scores:
        return "<p>No entities were there to be found.</p>"
    rows = "".join(
        f"<tr><th scope=row>{html.escape(label)}</th><td>{value:.1%}</td>"
        f"<td class=name><span class=bar style='width:{value * 12:.2f}rem'></span></td></tr>"
        for label, value in sorted(scores.items(), key=lambda item: item[1])
    )
    return f"<table>{rows}</table>"


def confusion(cells: list[list[Any]]) -> str:
    """A matrix of (row, column, count): of at most `MOST_INTENTS` intents, those that are confused most."""
    counts = {(wanted, said): n for wanted, said, n in cells}
    wrong: Counter[str] = Counter()
    for (wanted, said), n in counts.items():
        if wanted != said:
            wrong.update({wanted: n, said: n})
    names = sorted({name for pair in counts for name in pair}, key=lambda name: (-wrong[name], name))[:MOST_INTENTS]
    totals = {name: sum(n for (wanted, _), n in counts.items() if wanted == name) for name in names}
    head = "".join(f"<th class=column>{_short(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th scope=row>{_short(name)}</th>" + "".join(
            _cell(counts.get((name, other), 0), totals[name], name == other) for other in names
        ) + "</tr>" for name in names
    )
    return f"<div class=scroll><table class=matrix><tr><th></th>{head}</tr>{rows}</table></div>"


def _short(name: str) -> str:
    """A label may have 256 characters, which would make a column as high as three screens."""
    if len(name) <= LONG:
        return html.escape(name)
    return f"<span title='{html.escape(name)}'>{html.escape(name[:LONG])}…</span>"


def _cell(count: int, total: int, right: bool) -> str:
    share = count / total if total else 0
    colour = f"rgba(44,127,184,{share:.2f})" if right else f"rgba(203,24,29,{min(1.0, share * 3):.2f})"
    return f"<td style='background:{colour}'>{count or ''}</td>"


def _calibration(metrics: dict[str, Any]) -> str:
    """Accuracy over confidence: on the diagonal a confidence of 0.8 is right eight times in ten."""
    bins = metrics.get("calibration_bins", [])
    if not bins:
        return "<p>Fewer than 20 held-out examples: confidences are as the head gives them.</p>"
    most = max(count for _, _, count in bins)
    dots = "".join(
        f"<circle cx='{x * PLOT:.1f}' cy='{(1 - y) * PLOT:.1f}' r='{3 + 9 * (n / most) ** 0.5:.1f}' fill='#2c7fb8' "
        f"fill-opacity='.7'><title>confidence {x:.2f}, right {y:.2f}, {n} examples</title></circle>" for x, y, n in bins
    )
    return (
        f"<p>Expected calibration error {metrics['ece']:.4f} (before the temperature: {metrics['ece_before']:.4f}). "
        "Across: confidence. Up: share that was right.</p>"
        f"<svg viewBox='-14 -14 {PLOT + 28} {PLOT + 28}' width='{PLOT + 28}' role=img aria-label='calibration plot'>"
        f"<rect width='{PLOT}' height='{PLOT}' fill='none' stroke='#aab4bf'/>"
        f"<line x1='0' y1='{PLOT}' x2='{PLOT}' y2='0' stroke='#aab4bf' stroke-dasharray='4'/>{dots}</svg>"
    )
