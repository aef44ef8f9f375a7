"""The columns of tables and of rows: which one holds the text, which the intent, by the names that are usual."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from topology.errors import Misconfigured

TEXTS = (
    "text", "utterance", "utt", "sentence", "query", "question", "content", "example", "phrase", "message",
    "utterances", "user_utterance", "user_input", "training_phrase", "sample", "input", "instruction", "transcript",
    "transcription", "sentences", "phrases", "comment", "request",
)
TOKENS = ("tokens", "words")
INTENTS = (
    "intent", "intent_name", "intent_label", "intent_display_name", "label_text", "label_name", "category", "label",
    "class", "intent_class", "intents", "labels", "class_name", "category_name", "intention", "target", "topic",
)
ENTITIES = ("entities", "spans")
SPLIT, LANGUAGE = ("split", "partition", "dataset", "subset"), ("language", "lang", "locale")
KINDS = {"text": TEXTS, "intent": INTENTS, "entities": ENTITIES, "split": SPLIT, "language": LANGUAGE}
SHOWN = 20


def plain(name: str) -> str:
    """A column's name as it is compared: `Intent Name` is `intent_name`."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def columns_of(names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, int]:
    """What each column is for. `chosen`: kind → the name that was typed; the others by their usual names."""
    there = [plain(name) for name in names]
    found = {}
    for kind, known in KINDS.items():
        wanted = (plain(chosen[kind]),) if kind in chosen else known
        if place := next((there.index(name) + 1 for name in wanted if name in there), 0):
            found[kind] = place - 1
    return found


def unknown(place: str, names: Iterable[str], missing: Iterable[str] = ("text", "intent")) -> Misconfigured:
    """That no column is known to hold what is missing, with those that are there and what to type."""
    some = list(names)
    told = ", ".join(some[:SHOWN]) + (", …" if len(some) > SHOWN else "")
    kinds = list(missing)
    options = " and ".join(f"--{kind} COLUMN" for kind in kinds)
    return Misconfigured(f"{place}: no column is called {' or '.join(kinds)}, or by another name that is known; the "
                         f"columns are: {told}. {options} {'say' if len(kinds) > 1 else 'says'} which")
