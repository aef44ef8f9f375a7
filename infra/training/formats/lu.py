"""LU, the text files that LUIS and its tools export: `# Intent`, `- lamp in {@room=hall}`, `@ list room =`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Span
from infra.training.formats.luis import NONE
from infra.training.formats.segments import without_covers
from infra.training.formats.source import Source

INTENT = re.compile(r"^#+\s*([^?#\s].*?)\s*$")
ITEM = re.compile(r"^(\s*)[-*+]\s+(.*?)\s*$")
ENTITY = re.compile(r"^@\s*(\w+)\s+([\"']?)([^\"'=]+?)\2(?:\s+hasRoles?\s+[^=]*)?\s*(?:\(.*\))?\s*(?:=.*)?$")
OLD_LIST = re.compile(r"^\$\s*([^:]+?)\s*:\s*(.+?)\s*=\s*$")  # $ room : hall =
CULTURE = re.compile(r"^>\s*!#\s*@app\.culture\s*=\s*(\S+)", re.MULTILINE)
OPEN = re.compile(r"\{\s*@?\s*([\w.\- ]+?)\s*(?::\s*([\w.\- ]+?)\s*)?=\s*")
PATTERN = re.compile(r"\{\s*@?[\w.:\- ]+\}")  # {room}: a place, which an utterance does not have
HEADING = re.compile(r"^#+[ \t]*\w", re.MULTILINE)
LABELLED = re.compile(r"^[ \t]*- .*\{@?[\w.:\- ]+=[^}]", re.MULTILINE)
UNUSED = ("phraselist", "regex", "composite")
SIGNS = re.compile(r"^(@\s*(ml|list|prebuilt|intent|regex|phraselist)\s|>\s*!#|\$\s*\w+\s*:)", re.MULTILINE)


def knows(source: Source) -> bool:
    """Its name, its own signs, or a heading above a labelled utterance."""
    if source.inner.suffix.lower() == ".lu":
        return True
    is_headed = source.text.lstrip()[:1] not in ("{", "[") and HEADING.search(source.text) is not None
    return is_headed and (LABELLED.search(source.text) or SIGNS.search(source.text)) is not None


def read(sources: Sequence[Source], found: Found) -> None:
    """`None` becomes `out_of_scope`; lists become synonyms; of nested entities the innermost are kept."""
    for source in sources:
        culture = CULTURE.search(source.text)
        language = culture[1] if culture else source.language
        for number, intent, said in _utterances(source, found):
            if PATTERN.search(said) and not OPEN.search(said):
                found.notes["patterns that are not used here"] += 1
                continue
            with found.row(source.at(number)):
                text, spans = labelled(said)
                kept = without_covers(spans)
                if len(kept) < len(spans):
                    found.notes["entities left out that hold others"] += len(spans) - len(kept)
                found.add(source.at(number), text, OUT_OF_SCOPE if intent.casefold() == NONE else intent, kept,
                          source.split, language)


def _utterances(source: Source, found: Found) -> Iterator[tuple[int, str, str]]:
    """(line, intent, what is said); entities' values are kept on the way."""
    intent, entity, value, depth = "", "", "", -1
    for number, line in source.text_lines:
        if line.lstrip().startswith((">", "!#")):
            continue
        if heading := INTENT.match(line):
            intent, entity, value = heading[1], "", ""
        elif line.startswith(("@", "$")):
            kind, old = ENTITY.match(line), OLD_LIST.match(line)
            is_list = kind is not None and kind[1].lower() == "list"
            if kind and kind[1].lower() in UNUSED:
                found.notes[f"{kind[1].lower()} that is not used here"] += 1
            entity, intent = (kind[3] if kind and is_list else old[1] if old else ""), ""
            value, depth = old[2] if old else "", -1
            if entity:
                found.listed.add(entity)
        elif item := ITEM.match(line):
            if intent:
                yield number, intent, item[2]
            elif entity and item[2].endswith(":"):
                value, depth = item[2].rstrip(": "), len(item[1])
                found.keep(source.at(number), [entity], value)
            elif entity and value and len(item[1]) > depth:
                found.keep(source.at(number), [entity], value, [item[2]])
            elif entity:
                found.keep(source.at(number), [entity], item[2])


def labelled(said: str) -> tuple[str, list[Span]]:
    """(text, spans, the outer before the inner) of `a {@order={@size=small} pizza}`. Raises: ValueError."""
    text, spans, begun, at = "", [], [], 0
    while at < len(said):
        if said[at] == "\\" and said[at + 1 : at + 2] in ("{", "}", "[", "]"):
            text, at = text + said[at + 1], at + 2
        elif said[at] == "{":
            mark = OPEN.match(said, at)
            if mark is None:
                raise ValueError(f"{said[at : at + 30]!r} is no {{entity=words}}")
            begun.append((len(text), ".".join(part for part in (mark[1], mark[2]) if part)))
            at = mark.end()
        elif said[at] == "}" and begun:
            start, label = begun.pop()
            spans.append((start, len(text), label))
            at += 1
        else:
            text, at = text + said[at], at + 1
    if begun:
        raise ValueError(f"{{{begun[-1][1]}= is not closed")
    return text, [one for one in spans if text[one[0] : one[1]].strip()]


LU = Format("lu", knows, read)
