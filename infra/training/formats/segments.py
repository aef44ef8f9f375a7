"""Texts that come in pieces: segments that are labelled, and tokens with BIO tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from infra.training.formats.found import Span

WIDE_FROM = "\u2e80"  # scripts from here on are written without blanks between words
INSIDE = {"I", "E", "L", "M"}  # that go on or end what was begun, in BIO, IOBES and BILOU


def joined(segments: Iterable[tuple[str, str]]) -> tuple[str, list[Span]]:
    """(text, spans) of (text, label or none) segments, joined as they stand."""
    text, spans = "", []
    for piece, label in segments:
        if not isinstance(piece, str):
            raise ValueError(f"a segment's text must be a string, not {piece!r}")
        if label and piece.strip():
            spans.append((len(text), len(text) + len(piece), label))
        text += piece
    return text, spans


def spoken(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """(text, places of the tokens) of tokens whose spacing is lost: one blank between two, none between two of a script
    that is written without."""
    text, places = "", []
    for token in tokens:
        if text and not (text[-1] >= WIDE_FROM and token[:1] >= WIDE_FROM):
            text += " "
        places.append((len(text), len(text) + len(token)))
        text += token
    return text, places


def found_in(text: str, tokens: Sequence[str]) -> list[tuple[int, int]] | None:
    """The places of tokens in their text, in order; None where they are not what the text consists of."""
    at, places = 0, []
    for token in tokens:
        start = text.find(token, at)
        if start < 0 or text[at:start].strip():
            return None
        at = start + len(token)
        places.append((start, at))
    return places


def tagged(tags: Sequence[Any], places: Sequence[tuple[int, int]]) -> list[Span]:
    """The spans of BIO, IOB, IOBES or BILOU tags. An I- that continues nothing begins a span, as conlleval has it."""
    if len(tags) != len(places):
        raise ValueError(f"{len(places)} tokens have {len(tags)} tags")
    spans: list[Span] = []
    open_label = ""
    for tag, (start, end) in zip(tags, places, strict=True):
        kind, _, label = str(tag).partition("-")
        if not label:
            if kind.upper() not in ("O", "_", ""):
                raise ValueError(f"the tag {tag!r} is neither O nor of the form B-label")
            open_label = ""
        elif kind.upper() in INSIDE and label == open_label:
            spans[-1] = (spans[-1][0], end, label)
        else:
            spans.append((start, end, label))
        open_label = label if kind.upper() in {"B", *INSIDE} else ""
        if kind.upper() in ("E", "L"):
            open_label = ""
    return spans


def without_covers(spans: Iterable[Span]) -> list[Span]:
    """The spans but those that hold another one wholly: of nested ones the innermost are kept."""
    given = list(dict.fromkeys(spans))
    kept = []
    for i, (start, end, label) in enumerate(given):
        holds = any(
            start <= other[0] and other[1] <= end and (other[:2] != (start, end) or j < i)
            for j, other in enumerate(given) if j != i
        )
        if not holds:
            kept.append((start, end, label))
    return kept
