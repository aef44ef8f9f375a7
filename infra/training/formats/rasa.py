"""Rasa: nlu.yml, its entities marked in the text, synonyms and lookups; its older JSON and nlu.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.training.formats.format import Format
from infra.training.formats.found import Found, Span
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.rasa_markdown import SECTION, examples_of
from infra.training.formats.segments import joined
from infra.training.formats.source import Source
from topology.errors import Misconfigured

MARK = re.compile(r"\[([^\]\n]+?)\](?=[({]|\[\s*\{)")  # the text of an entity, before (label) or {"entity": ...}
APART = re.compile(r"\[[^\]]*\]\s+(\([^()\s]+\)|\{\s*\")")  # the same with a blank between: a slip of the hand
SHORT = re.compile(r"\(([^:()]+?)(?::([^()]*))?\)")  # (label), or (label:value) as Rasa 1 has it
# YAML's reader takes no half surrogate pairs, as which bytes that are no UTF-8 stand in a text.
ASIDE = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
BACK = {there: here for here, there in ASIDE.items()}
GROUP = re.compile(r"\]\{[^}]*\"group\"")
TOP = re.compile(r"^(nlu|rasa_nlu_data)\s*:", re.MULTILINE)


def knows(source: Source) -> bool:
    """YAML with `nlu:` at its top, JSON with `rasa_nlu_data`, or Markdown with `## intent:`."""
    if source.document is not None:
        return isinstance(source.document, dict) and "rasa_nlu_data" in source.document
    return (TOP.search(source.text) or SECTION.search(source.text)) is not None


def read(sources: Sequence[Source], found: Found) -> None:
    """Values of entities, synonyms and lookups become synonyms. Regular expressions are counted and not used."""
    ways: list[tuple[str, str]] = []  # (value, way) of no label
    for source in sources:
        if source.document is not None:
            _read_json(source, found, ways)
        else:
            is_yaml = TOP.search(source.text) is not None
            for kind, name, line, example in _items(source) if is_yaml else examples_of(source):
                place = source.at(line)
                with found.row(place):
                    _take(place, kind, name, example, found, ways, source)
    _spread(ways, found)


def _take(
    place: str, kind: str, name: str, example: str, found: Found, ways: list[tuple[str, str]], source: Source
) -> None:
    if not example.startswith("-"):
        raise ValueError(f"an example begins with `- `, on a line of its own, not with {example[:40]!r}")
    example = example[1:].strip()
    if kind == "intent":
        text, spans, values = marked(example)
        found.add(place, text, name, spans, source.split, source.language)
        for label, value, way in values:
            found.mean(label, value, way)
            ways.append((value, way))
        if GROUP.search(example):
            found.notes["rows whose entities are grouped, which is not kept"] += 1
        if "][{" in example:
            found.notes["rows with several labels of one entity, of which the first is kept"] += 1
    elif kind == "synonym":
        ways.append((name, example))
    elif kind == "lookup":
        found.mean(name, example)
    else:
        found.notes[f"regular expressions that are not used here ({name})"] += 1


def marked(example: str) -> tuple[str, list[Span], list[tuple[str, str, str]]]:
    """(text, spans, (label, value, what is said) where a value is given) of `lamp in [NYC]{"entity": "city"}`.

    Raises: ValueError where a mark is not complete.
    """
    pieces: list[tuple[str, str]] = []
    values: list[tuple[str, str, str]] = []
    at = 0
    while match := MARK.search(example, at):
        label, value, end = _mark(example, match.end())
        pieces += [(example[at : match.start()], ""), (match[1], label)]
        if value and value != match[1]:
            values.append((label, value, match[1]))
        at = end
    pieces.append((example[at:], ""))
    if slip := next((found[0] for piece, label in pieces if not label and (found := APART.search(piece))), ""):
        raise ValueError(f"a blank stands in the mark {slip!r}")
    return *joined(pieces), values


def _mark(example: str, at: int) -> tuple[str, str, int]:
    """(label, value, where the mark ends) of the mark that begins at `at`."""
    if example[at] == "(":
        short = SHORT.match(example, at)
        if short is None:
            raise ValueError(f"{example[at : at + 30]!r} is no (label)")
        return short[1].strip(), (short[2] or "").strip(), short.end()
    try:
        body, end = json.JSONDecoder().raw_decode(example, at)
    except ValueError as error:
        raise ValueError(f"{example[at : at + 40]!r} is no JSON map of an entity: {error}") from error
    if isinstance(body, list) and body:  # several labels of one span: the first is kept
        body = body[0]
    if not isinstance(body, dict) or not isinstance(body.get("entity"), str):
        raise ValueError(f'{example[at:end]!r} has no "entity"')
    return _label(body), str(body.get("value") or ""), end


def _label(body: Mapping[str, Any]) -> str:
    """The entity, and its role, without which `from` and `to` of two cities would be one."""
    return ".".join(str(part).strip() for part in (body["entity"], body.get("role")) if part)


def _items(source: Source) -> Iterator[tuple[str, str, int, str]]:
    """(kind, name, line, example) of every example of every section. Raises: Misconfigured where it is no YAML."""
    # Here, not above: PyYAML is of the extra `train`, and other formats do without.
    import yaml

    try:
        root = yaml.compose(source.text.translate(ASIDE), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError) as error:
        raise Misconfigured(f"{source.name}: not YAML: {error}") from error
    for key, sections in _fields(root):
        if key != "nlu" or not isinstance(sections, yaml.SequenceNode):
            continue
        for section in sections.value:
            fields = dict(_fields(section))
            kind = next((one for one in ("intent", "synonym", "lookup", "regex") if one in fields), "")
            if kind and "examples" in fields:
                for line, example in _examples(fields["examples"]):
                    yield kind, _back(str(fields[kind].value), source), line, _back(example, source)


def _fields(node: Any) -> Iterator[tuple[str, Any]]:
    """The keys of a YAML map that are plain words, with their nodes; none where it is no map."""
    for pair in node.value if isinstance(node.value, list) else []:
        if isinstance(pair, tuple) and isinstance(pair[0].value, str):
            yield pair[0].value, pair[1]


def _back(text: str, source: Source) -> str:
    return text.translate(BACK) if source.note else text


def _examples(node: Any) -> Iterator[tuple[int, str]]:
    """(line, `- example`) of a block of lines, or of a list of maps with `text`."""
    if isinstance(node.value, str):
        first = node.start_mark.line + (2 if node.style in ("|", ">") else 1)
        if node.style == ">":
            yield first - 1, "a > folds lines into one: | is wanted"
            return
        for number, line in enumerate(node.value.split("\n")):
            if bare := line.strip():
                yield first + number, bare
        return
    for one in node.value:
        if isinstance(one, tuple):
            continue  # of a map, which examples are not
        texts = [one] if isinstance(one.value, str) else [value for key, value in _fields(one) if key == "text"]
        for text in texts:
            line = text.start_mark.line + (2 if text.style in ("|", ">") else 1)
            yield line, "- " + str(text.value).strip().removeprefix("- ")


def _spread(ways: Sequence[tuple[str, str]], found: Found) -> None:
    """Rasa's synonyms are of no label: each goes to the labels that say or mean one of its words and to those of the
    same entity in another role, else to all. Lookups are of an entity, so of its every role."""
    said: dict[str, set[str]] = {}
    for row in found.rows:
        for entity in row.example.entities:
            said.setdefault(row.example.text[entity.start : entity.end].casefold(), set()).add(entity.label)
    used = {one.label for row in found.rows for one in row.example.entities}
    for label in sorted(one for one in used if one != _entity(one)):
        for value in list(found.synonyms.get(_entity(label), ())):
            found.mean(label, value)
    for label in sorted(set(found.synonyms) - used):
        if any(_entity(other) == label for other in used):
            del found.synonyms[label]
    for label, values in found.synonyms.items():
        for value in values:
            said.setdefault(value.casefold(), set()).add(label)
    groups: dict[str, list[str]] = {}
    for value, way in ways:
        groups.setdefault(value, []).append(way)
    everywhere = sorted({label for labels in said.values() for label in labels})
    for value, others in groups.items():
        labels = set().union(*(said.get(word.casefold(), set()) for word in (value, *others)))
        labels |= {other for other in everywhere if _entity(other) in {_entity(one) for one in labels}}
        for label in sorted(labels) or everywhere:
            for way in others:
                found.mean(label, value, way)


def _entity(label: str) -> str:
    return label.rpartition(".")[0] or label


def _read_json(source: Source, found: Found, ways: list[tuple[str, str]]) -> None:
    body = source.document["rasa_nlu_data"]
    body = body if isinstance(body, dict) else {}
    for number, one in enumerate(items(body.get("common_examples")), 1):
        place = source.at(line_of(one), f"common_examples {number}")
        with found.row(place):
            text, entities = one["text"], one.get("entities", [])
            spans = [(e["start"], e["end"], _label(e)) for e in entities]
            found.add(place, text, one.get("intent"), spans, source.split, source.language)
            for e, (start, end, label) in zip(entities, spans, strict=True):
                if isinstance(value := e.get("value"), str) and value.casefold() != text[start:end].casefold():
                    found.mean(label, value, text[start:end])
                    ways.append((value, text[start:end]))
    for one in items(body.get("entity_synonyms")):
        with found.row(source.at(line_of(one), "entity_synonyms")):
            ways += [(str(one["value"]), str(way)) for way in one["synonyms"]]
    for one in maps(body.get("lookup_tables")):
        if isinstance(elements := one.get("elements"), str):
            found.notes[f"lookups in a file of their own, which is not read ({elements})"] += 1
        for value in items(elements):
            found.keep(source.at(line_of(one)), [str(one.get("name"))], value)
    if regexes := items(body.get("regex_features")):
        found.notes["regular expressions that are not used here"] += len(regexes)


RASA = Format("rasa", knows, read)
