"""Columns that were named with --text, --intent and --entities: files get their usual names before they are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from infra.training.formats.columns import INTENTS, KINDS, SHOWN, TOKENS, columns_of, plain
from infra.training.formats.found import Options
from infra.training.formats.placed_json import maps
from infra.training.formats.source import Source
from infra.training.formats.table import header_of
from topology.errors import Misconfigured

LOOKED_AT = 50  # rows whose keys are a file's columns


def settled(sources: Sequence[Source], options: Options) -> Options:
    """The options, with `--intent` among the columns where a file has a column of that name: else it is an intent.

    Rows of JSON get the usual names. Raises: Misconfigured where no file has a column that was named.
    """
    if not (options.columns or options.intent):
        return options
    names = {source.name: names_in(source) for source in sources}
    there = {plain(name) for some in names.values() for name in some}
    columns = dict(options.columns)
    if options.intent and plain(options.intent) in there:
        columns["intent"] = options.intent
    for kind, column in columns.items():
        if plain(column) not in there:
            told = "; ".join(f"{place}: the columns are {', '.join(some[:SHOWN]) or 'none, it is no table'}"
                             for place, some in names.items())
            raise Misconfigured(f"--{kind} {column}: no column is called so; {told}")
    for source in sources:
        rename(source, columns)
    return replace(options, columns=columns, intent="" if "intent" in columns else options.intent)


def names_in(source: Source) -> list[str]:
    """The names of a table's columns, or the keys of the first rows of JSON; none where the file is neither."""
    if source.text.lstrip()[:1] not in ("{", "["):
        return header_of(source)
    return list(dict.fromkeys(str(name) for row in rows_in(source)[:LOOKED_AT] for name in row))


def rows_in(source: Source) -> list[dict[str, Any]]:
    """The rows of JSON lines, of a JSON list, or of the viewer's JSON (as Parquet and Arrow are read)."""
    document = source.document
    if isinstance(document, dict):
        if isinstance(document.get("rows"), list):
            return [inside if isinstance(inside := one.get("row"), dict) else one for one in maps(document["rows"])]
        return [document]
    return [line.body for line in source.lines]


def rename(source: Source, columns: Mapping[str, str]) -> None:
    """Give the columns of rows of JSON the names `text`, `intent` and `entities`, in place. Others that could be taken
    for one of them go."""
    if source.text.lstrip()[:1] not in ("{", "["):
        return
    document = source.document
    for row in rows_in(source):
        _rename(row, columns)
    if isinstance(document, dict):
        features = document.get("features")
        if isinstance(features, dict):
            _rename(features, columns)
        for one in maps(features):
            for kind, column in columns.items():
                if one.get("name") == column:
                    one["name"] = kind


def _rename(row: dict[str, Any], columns: Mapping[str, str]) -> None:
    keys = {plain(str(key)): key for key in row}
    given = {kind: row[keys[plain(column)]] for kind, column in columns.items() if plain(column) in keys}
    for kind, value in given.items():
        for other in (*KINDS[kind], *(TOKENS if kind == "entities" else ())):
            row.pop(other, None)
        if kind == "entities" and isinstance(value, str):
            with suppress(ValueError):  # what is no JSON is refused with its row
                value = json.loads(value or "[]")
        given[kind] = value
    row.update(given)


def by_usual_names(source: Source) -> bool:
    """Whether rows of JSON have columns such as `Query` and `Intent Name`, which then get their usual names."""
    names = names_in(source) if source.text.lstrip()[:1] in ("{", "[") else []
    places = columns_of(names, {})
    if not {"text", "intent"} <= set(places):
        return False
    rename(source, {kind: names[at] for kind, at in places.items() if kind in ("text", "intent", "entities")})
    return True


def has_rows(source: Source, columns: Mapping[str, str]) -> bool:
    """Whether `columns` were named and stand in rows of JSON that have a text."""
    is_json = source.text.lstrip()[:1] in ("{", "[")
    return bool(columns) and is_json and any("text" in row and ("intent" in row or not set(INTENTS) & set(row))
                                             for row in rows_in(source)[:LOOKED_AT])
