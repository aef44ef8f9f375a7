"""Hugging Face rows: JSON lines or the dataset viewer's JSON. Labels are numbers, and their names stand elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.training.examples import record_of
from infra.training.formats import massive
from infra.training.formats.columns import INTENTS, TEXTS, TOKENS, unknown
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Row
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.segments import found_in, spoken, tagged
from infra.training.formats.source import SPLITS, Source
from topology.errors import Misconfigured

TAGS = ("ner_tags", "tags", "slots", "bio_tags", "labels", "entities")
INFO, INFOS = "dataset_info.json", "dataset_infos.json"  # of one configuration, or of each by its name
CARD = "README.md"
ANY_INTENT, ANY_TAG = "", "#tags"  # keys of names that were given for no column
Names = dict[str, list[str]]


def knows(source: Source) -> bool:
    """The viewer's features and rows, a dataset's description, or rows with tokens or a label."""
    body = source.document
    if isinstance(body, dict) and isinstance(body.get("features"), dict | list):
        return True
    if source.inner.name == INFOS:
        return bool(_described(INFOS, source.text, body))
    if source.inner.name == CARD:
        return "class_label" in source.text
    return any(
        set(TOKENS) & set(line.body) or (set(TEXTS) & set(line.body) and set(INTENTS) & set(line.body))
        for line in source.lines
    )


def read(sources: Sequence[Source], found: Found) -> None:
    """Names come from the rows' own features, from `--names`, or from a description or a card beside the file."""
    shared: Names = {}
    for source in sources:
        shared.update(_described(source.inner.name, source.text, source.document))
    for source in sources:
        body = source.document
        names = {**names_beside(source), **shared, **found.options.names}
        split = source.split
        if isinstance(body, dict) and isinstance(body.get("rows"), list):
            names = {**_of_features(body.get("features")), **found.options.names}
            split = SPLITS.get(str(body.get("split", "")).lower(), split)
        _check_columns(source, found)
        for line, item, row, fault in _rows(source):
            place = source.at(line, item)
            with found.row(place):
                if fault:
                    raise ValueError(fault)
                try:
                    _take(place, row, names, split, found)
                except Misconfigured as error:
                    raise Misconfigured(f"{place}: {error}") from error


def _check_columns(source: Source, found: Found) -> None:
    """Raises: Misconfigured where no row has a column for the text, or for the intent."""
    keys = dict.fromkeys(str(key) for _, _, row, _ in _rows(source) if isinstance(row, dict) for key in row)
    missing = [] if {*TEXTS, *TOKENS, "annot_utt"} & set(keys) else ["text"]
    if not {*INTENTS, *TOKENS} & set(keys) and not found.options.intent:
        missing.append("intent")
    if keys and missing:
        raise unknown(source.name, keys, missing)


def _rows(source: Source) -> Iterator[tuple[int, str, Mapping[str, Any], str]]:
    body = source.document
    if isinstance(body, dict) and isinstance(body.get("rows"), list):
        for i, one in enumerate(body["rows"]):
            cut = items(one.get("truncated_cells")) if isinstance(one, dict) else []
            row = one.get("row", one) if isinstance(one, dict) else one
            yield line_of(one), f"row {i}", row, f"the viewer cut {', '.join(map(str, cut))} short" if cut else ""
    else:
        for line in source.lines:
            yield line.number, "", line.body, line.fault


def _take(place: str, row: Mapping[str, Any], names: Names, split: str, found: Found) -> None:
    column = _column(row, [one for one in INTENTS if not isinstance(row.get(one), list)])
    intent = named(row[column], column, names) if column else None
    split = SPLITS.get(str(row.get("partition", row.get("split", split))).lower(), split)
    if "annot_utt" in row:
        massive.take(place, row, intent, split, found)
        return
    language = str(row.get("language") or row.get("lang") or row.get("locale") or "")
    tokens, text = _column(row, TOKENS), _column(row, TEXTS)
    if not tokens:
        spans = row.get("entities") if maps(row.get("entities")) else []
        said, spans = massive.unmarked(row[text] if text else "", spans or [], found)
        one = record_of({"text": said, "intent": found.scoped(intent), "entities": spans},
                        found.options.offsets or "characters")
        found.take(Row(place, one.example, split, language), one.trimmed)
        for meant in one.meant:
            found.mean(*meant)
        return
    tags = next((one for one in TAGS if isinstance(row.get(one), list)), "")
    marks = [named(tag, tags, names) for tag in row[tags]] if tags else ["O"] * len(row[tokens])
    said, places = str(row.get(text, "")), found_in(str(row.get(text, "")), row[tokens]) if text else None
    if places is None:
        said, places = spoken(row[tokens])
        found.notes["rows of tokens, with one blank put between two: their true spacing is lost"] += 1
    found.add(place, said, found.or_unnamed(intent), tagged(marks, places), split, language)


def _column(row: Mapping[str, Any], known: Iterable[str]) -> str:
    return next((one for one in known if row.get(one) is not None), "")


def named(value: Any, column: str, names: Names) -> str:
    """The label, by its name. Raises: Misconfigured where there are no names, ValueError where the number has none."""
    if isinstance(value, str):
        return value
    if type(value) is not int:
        raise ValueError(f"{column} must be a number or a name, not {value!r}")
    known = names.get(column) or names.get(ANY_INTENT if column in INTENTS else ANY_TAG)
    if not known:
        raise Misconfigured(
            f"{column} is a number, and nothing says what it means: put the set's {INFO} beside the file, or give "
            "--names FILE (a name a line, or a JSON map of columns to lists of names)"
        )
    if not 0 <= value < len(known):
        raise ValueError(f"{column} is {value}, but there are {len(known)} names, counted from 0")
    return known[value]


def read_names(place: Path) -> Names:
    """The names in a file: of the intent or, if O is one of them, of tags alone, as a JSON list, a map of numbers to
    names or of names to numbers, or a name a line; or by column, as a map of such; or a description of the set.

    Raises: Misconfigured.
    """
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{place}: {error}") from error
    try:
        body = json.loads(text)
    except ValueError:
        body = [line.strip() for line in text.split("\n") if line.strip()]
    if names := _in_order(body):
        return {ANY_TAG if "O" in names else ANY_INTENT: names}
    if isinstance(body, dict):
        found = _described(INFO, text, body) or {k: names for k, v in body.items() if (names := _in_order(v))}
        return {ANY_TAG if k == "id2label" and "O" in names else ANY_INTENT if k == "id2label" else k: names
                for k, names in found.items() if k != "label2id"}
    raise Misconfigured(f"{place}: a list of names, or a map of columns to lists, is wanted")


def _in_order(value: Any) -> list[str]:
    """Names of a list, of a map of numbers to names, or of names to numbers; empty where it is none of these."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    if isinstance(value, dict) and value:
        if all(str(key).isdigit() for key in value):
            return [str(value[key]) for key in sorted(value, key=int)]
        if all(type(one) is int for one in value.values()):
            return sorted(value, key=lambda name: int(value[name]))
    return []


def names_beside(source: Source) -> Names:
    """What a description of the set in the same directory tells, by column."""
    found: Names = {}
    for name in (CARD, INFOS, INFO):
        place = source.place.parent / name if source.place else None
        if place and place.is_file() and place != source.place:
            text = place.read_text(encoding="utf-8", errors="replace")
            try:
                found.update(_described(name, text, json.loads(text) if name != CARD else None))
            except ValueError:
                continue
    return found


def _described(name: str, text: str, document: Any) -> Names:
    """The names that dataset_info.json (whatever it is called) or a card's YAML tells."""
    if isinstance(document, dict) and "rows" not in document:
        inside = [document, *(one for one in document.values() if isinstance(one, dict))]
        return {k: v for one in inside for k, v in _of_features(one.get("features")).items()}
    return _of_card(text) if name == CARD else {}


def _of_features(features: Any) -> Names:
    """Names by column, of features as a map (dataset_info.json) or as a list (the viewer)."""
    pairs = features.items() if isinstance(features, dict) else [
        (one.get("name"), one.get("type")) for one in features if isinstance(one, dict)
    ] if isinstance(features, list) else []
    return {str(column): names for column, kind in pairs if (names := _names_in(kind))}


def _names_in(kind: Any) -> list[str]:
    """The names of a class label, or of a list of them."""
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if not isinstance(kind, dict):
        return []
    names = kind.get("names")
    if isinstance(names, dict):  # a card's: {"0": "greet"}
        names = [names[key] for key in sorted(names, key=lambda key: int(key) if str(key).isdigit() else 0)]
    if isinstance(names, list):
        return [str(name) for name in names]
    return next((found for key in ("feature", "class_label", "sequence", "list", "dtype")
                 if (found := _names_in(kind.get(key)))), [])


def _of_card(text: str) -> Names:
    # Here, not above: PyYAML is of the extra `train`, and other formats do without.
    import yaml

    try:
        head = yaml.safe_load(text.split("---")[1]) if text.startswith("---") else None
    except yaml.YAMLError:
        return {}
    infos = head.get("dataset_info") if isinstance(head, dict) else None
    found: Names = {}
    for info in maps(infos if isinstance(infos, list) else [infos]):
        for one in maps(info.get("features")):
            if names := _names_in(one):
                found[str(one.get("name"))] = names
    return found


HUGGINGFACE = Format("huggingface", knows, read)
