"""One HTML file on two head versions compared: how far they agree, what changed, and utterances to read.

Needs nothing beside it, has no scripts, and fits a phone. Its texts were written by strangers: all are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.backfill.compare.comparison import KINDS, VERSIONS
from infra.backfill.compare.entity_changes import HOWS, SAME
from infra.backfill.compare.html import MOST_ROWS, PAGE_STYLE, bar_cell, left_out, shown, table
from infra.training.report import MOST_INTENTS, confusion, document

MOST_GROUPS = 40  # of samples
OPEN = 3  # groups of samples that are open at first
WIDTH, HEIGHT = 420, 150  # of a histogram
COLORS = {"same": "#41ab5d", "entities": "#fec44f", "scope": "#fe9929", "intent": "#cb181d", "refused": "#525252"}
TOLD = {
    "same": "the same result", "entities": "same intent, other entities", "scope": "same intent, in or out of scope",
    "intent": "another intent", "refused": "refused by one",
}

def write_page(comparison: dict[str, Any], place: Path) -> Path:
    """Write the page of what `compare.Comparing` gives, and return where it is."""
    place.write_text(page(comparison), encoding="utf-8", errors="backslashreplace")  # half of a surrogate pair
    return place


def page(comparison: dict[str, Any]) -> str:
    """The page. `comparison`: `Comparison.summary`, with `tenant`, `versions` (before and after), `about` (name → text)
    and `warnings`."""
    names = comparison["versions"]
    before, after = (html.escape(names[one]) for one in VERSIONS)
    title = f"{html.escape(comparison['tenant'])}: {before} → {after}"
    about = " · ".join(f"{html.escape(name)} {html.escape(value)}" for name, value in comparison["about"].items())
    warnings = "".join(f"<p class=warning>{html.escape(text)}</p>" for text in comparison["warnings"])
    parts = [f"<h1>{title}</h1><p class=about>{about}</p>{warnings}"]
    if comparison["compared"]:
        parts += [
            _cards(comparison), _kinds(comparison["kinds"], comparison["compared"]),
            _changes(comparison), _by_intent(comparison), _scope(comparison), _entities(comparison),
            _confidence(comparison, names), _refused(comparison), _samples(comparison["samples"]),
        ]
    return document(title, "".join(parts), PAGE_STYLE)


def _cards(comparison: dict[str, Any]) -> str:
    shift = comparison["confidence"]["shift"]
    means = comparison["confidence"]["mean"]
    refused = {name: sum(comparison["refused"][name].values()) for name in VERSIONS}
    cards = [
        ("same intent", _share(comparison["same_intent"]), _interval(comparison["same_intent"])),
        ("same result: intent, scope and entities", _share(comparison["same_result"]),
         _interval(comparison["same_result"])),
        ("mean confidence", f"{shift:+.3f}", f"{means['before']:.3f} before, {means['after']:.3f} after"),
        ("refused by one version only", f"{sum(refused.values()):,}",
         f"{refused['before']:,} before, {refused['after']:,} after"),
    ]
    told = "".join(f"<div class=card>{name}<b>{value}</b><span>{more}</span></div>" for name, value, more in cards)
    return (
        f"<div class=cards>{told}</div><p class=note>Of {comparison['compared']:,} utterances. Agreement does not tell "
        "which version is right: read the samples of what changed.</p>"
    )


def _share(one: dict[str, Any]) -> str:
    return f"{one['share']:.1%}" if one["share"] < 0.999 or one["share"] == 1 else f"{one['share']:.2%}"


def _interval(one: dict[str, Any]) -> str:
    return f"95 % interval {one['interval'][0]:.1%} to {one['interval'][1]:.1%}"


def _kinds(kinds: dict[str, int], total: int) -> str:
    bar = "".join(
        f"<span style='width:{kinds[kind] / total:.4%};background:{COLORS[kind]}' title='{TOLD[kind]}'></span>"
        for kind in KINDS if kinds[kind]
    )
    legend = "".join(
        f"<li><span class=key style='background:{COLORS[kind]}'></span>{TOLD[kind]}: {kinds[kind]:,} "
        f"({kinds[kind] / total:.1%})</li>" for kind in KINDS
    )
    return f"<div class=kinds>{bar}</div><ul class=legend>{legend}</ul>"


def _changes(comparison: dict[str, Any]) -> str:
    changed = comparison["changed_intents"]
    if not changed:
        return "<h2>Changed intents</h2><p>None: every utterance has the same intent from both.</p>"
    most, total = changed[0][2], comparison["compared"]
    rows = (
        f"<tr><td class=name>{shown(a)} → {shown(b)}</td><td>{n:,}</td><td>{n / total:.2%}</td>{bar_cell(n / most)}"
        "</tr>" for a, b, n in changed[:MOST_ROWS]
    )
    outside = comparison["changed_out_of_scope_in_both"]
    told = f"<p class=note>{outside:,} of them are out of scope for both versions.</p>" if outside else ""
    return (
        "<h2>Changed intents</h2>" + table(("before → after", "utterances", "of all", ""), rows)
        + left_out(len(changed)) + told
        + f"<details><summary>All intents, before (rows) and after (columns)<small>{_shown_intents(comparison)}</small>"
        f"</summary>{confusion(comparison['matrix'])}</details>"
    )


def _shown_intents(comparison: dict[str, Any]) -> str:
    names = {name for a, b, _ in comparison["matrix"] for name in (a, b)}
    return f": the {MOST_INTENTS} of {len(names)} that change most" if len(names) > MOST_INTENTS else ""


def _by_intent(comparison: dict[str, Any]) -> str:
    rows = [one for one in comparison["by_intent"] if one["changed"]]
    if not rows:
        return ""
    told = (
        f"<tr><th scope=row>{shown(one['intent'])}</th><td>{one['utterances']:,}</td><td>{one['changed']:,}</td>"
        f"<td>{one['share']:.1%}</td>{bar_cell(one['share'])}</tr>" for one in rows[:MOST_ROWS]
    )
    return (
        "<h2>By intent of the version before</h2><p class=note>How many of its utterances get another intent, or "
        "none.</p>" + table(("intent", "utterances", "changed", "share", ""), told) + left_out(len(rows))
    )


def _scope(comparison: dict[str, Any]) -> str:
    total = sum(n for _, _, n in comparison["scope"]) or 1
    rows = (
        f"<tr><td class=name>{'stays' if a == b else 'becomes'} {shown(b)}</td><td>{n:,}</td><td>{n / total:.2%}</td>"
        "</tr>" for a, b, n in comparison["scope"]
    )
    return "<h2>In scope, out of scope</h2>" + table(("result", "utterances", "share"), rows)


def _entities(comparison: dict[str, Any]) -> str:
    found = comparison["entities"]
    if not found:
        return "<h2>Entities</h2><p>Neither version found any.</p>"
    labels = sorted(found, key=lambda label: (-sum(found[label].get(how, 0) for how in HOWS if how != SAME), label))
    rows = (
        f"<tr><th scope=row>{shown(label)}</th>{''.join(_count(found[label].get(how, 0)) for how in HOWS)}</tr>"
        for label in labels[:MOST_ROWS]
    )
    by_label = "<h2>Entities</h2>" + table(("label", *HOWS), rows) + left_out(len(labels))
    relabeled = ", ".join(f"{shown(a)} → {shown(b)} ({n:,})" for a, b, n in comparison["relabeled"][:MOST_ROWS])
    if not relabeled:
        return by_label
    return f"{by_label}<p class=note>The same span under another label (in the last two columns): {relabeled}.</p>"


def _count(n: int) -> str:
    return f"<td>{n:,}</td>" if n else "<td></td>"


def _confidence(comparison: dict[str, Any], names: dict[str, str]) -> str:
    plots = "".join(
        _histogram(comparison[key], told) for key, told in
        (("confidence", "all utterances"), ("confidence_same_intent", "those with the same intent"))
    )
    legend = "".join(
        f"<li><span class=key style='background:{color}'></span>{word}: {shown(names[word])}</li>"
        for word, color in _SIDES.items()
    )
    return f"<h2>Confidence</h2><ul class=legend>{legend}</ul><div class=plots>{plots}</div>"


_SIDES = {"before": "#98a5b3", "after": "#2c7fb8"}


def _histogram(one: dict[str, Any], told: str) -> str:
    """Both versions' confidences, side by side in each bin."""
    bins = one["histogram"]
    count, most = len(bins["before"]), max(1, *bins["before"], *bins["after"])
    step = WIDTH / count
    bars = "".join(
        f"<rect x='{i * step + (0.08 + 0.42 * side) * step:.1f}' y='{HEIGHT * (1 - n / most):.1f}' "
        f"width='{0.42 * step:.1f}' height='{HEIGHT * n / most:.1f}' fill='{_SIDES[name]}'><title>{name}: {n:,} of "
        f"confidence {i / count:.2f} to {(i + 1) / count:.2f}</title></rect>"
        for side, name in enumerate(VERSIONS) for i, n in enumerate(bins[name]) if n
    )
    marks = "".join(
        f"<text x='{x * WIDTH:.0f}' y='{HEIGHT + 16}' text-anchor='{anchor}'>{x:g}</text>"
        for x, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    )
    return (
        f"<figure><svg viewBox='0 -4 {WIDTH} {HEIGHT + 24}' role=img aria-label='confidences of {told}' font-size='12' "
        f"fill='#5a6b7d'>{bars}<line x1='0' x2='{WIDTH}' y1='{HEIGHT}' y2='{HEIGHT}' stroke='#aab4bf'/>{marks}</svg>"
        f"<figcaption>{told}: {one['utterances']:,}, mean {one['mean']['before']:.3f} → {one['mean']['after']:.3f} "
        f"({one['shift']:+.3f}); the highest bar is {most:,}</figcaption></figure>"
    )


def _refused(comparison: dict[str, Any]) -> str:
    sides = [(f"{name} only", comparison["refused"][name]) for name in VERSIONS]
    sides.append(("both", comparison["refused_by_both"]))
    rows = [
        f"<tr><td class=name>{who}: {shown(reason)}</td><td>{n:,}</td></tr>"
        for who, reasons in sides for reason, n in reasons.items()
    ]
    if not rows:
        return "<h2>Refused</h2><p>None by either.</p>"
    return "<h2>Refused</h2>" + table(("by which version, and why", "utterances"), rows)


def _samples(groups: Sequence[dict[str, Any]]) -> str:
    if not groups:
        return "<h2>Samples</h2><p>Nothing changed, so there is nothing to read.</p>"
    told = "".join(
        f"<details{' open' * (at < OPEN)}><summary>{_change(one)} <small>{TOLD[one['kind']]}, {one['utterances']:,} "
        f"utterances</small></summary>{''.join(_sample(text) for text in one['texts'])}</details>"
        for at, one in enumerate(groups[: MOST_GROUPS])
    )
    return (
        "<h2>Samples</h2><p class=note>Of each change those that both versions are surest of.</p>" + told
        + left_out(len(groups), MOST_GROUPS)
    )


def _change(group: dict[str, Any]) -> str:
    between = ": " if group["kind"] == "entities" else " → "
    return f"<b>{shown(group['before'])}{between}{shown(group['after'])}</b>"


def _sample(one: dict[str, Any]) -> str:
    said = "".join(
        f"<dt>{side}</dt><dd>{_said(one[side], one[other])}</dd>"
        for side, other in zip(VERSIONS, reversed(VERSIONS), strict=True)
    )
    place = f"{one['source']} {one['partition']}:{one['offset']} {one['utterance_id']}"
    return (
        f"<div class=sample><q dir=auto>{html.escape(one['text'])}</q><dl class=said>{said}</dl>"
        f"<small>{html.escape(place)}</small></div>"
    )


def _said(row: dict[str, Any], other: dict[str, Any]) -> str:
    """What one version says; what the other does not say stands out."""
    if row["error"]:
        return f"<span class=other>refused: {shown(row['error'])}</span>"
    intent = _marked(f"{shown(row['intent'])}", row["intent"] == other["intent"])
    scope = _marked("out of scope", row["out_of_scope"] == other["out_of_scope"]) if row["out_of_scope"] else ""
    entities = " ".join(_marked(_entity(one), one in other["entities"]) for one in row["entities"])
    return f"{intent} {row['confidence']:.2f} {scope} {entities}"


def _marked(told: str, same: bool) -> str:
    return told if same else f"<span class=other>{told}</span>"


def _entity(one: dict[str, Any]) -> str:
    value = "" if one["value"] is None else f" = {one['value']}"
    return f"<span class=chip>{shown(one['label'])}: <bdi>{html.escape(str(one['text']) + value)}</bdi></span>"
