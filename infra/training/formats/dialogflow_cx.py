"""Dialogflow CX: an agent exported as a JSON package, zipped or unpacked, or the intents of its API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from infra.training.examples import OUT_OF_SCOPE
from infra.training.formats.format import Format
from infra.training.formats.found import TRAIN, Found
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.segments import joined
from infra.training.formats.source import LANGUAGE, Source

OTHERS = {"defaultLanguageCode", "numTrainingPhrases", "isFallback", "excludedPhrases", "startFlow"}
PLACES = {"trainingPhrases", "intents", "entityTypes"}  # folders of the export


def knows(source: Source) -> bool:
    """Phrases or entries in folders of their own, and the files beside that name and describe them."""
    body = source.document
    if not isinstance(body, dict):
        return False
    inside = [body, *maps(body.get("intents"))]
    is_named = "displayName" in body and bool(PLACES & set(source.inner.parts) or {"kind", "parameters"} & set(body))
    is_of_entries = "entityTypes" in source.inner.parts and "entities" in body
    return any("trainingPhrases" in one for one in inside) or bool(OTHERS & set(body)) or is_named or is_of_entries


def read(sources: Sequence[Source], found: Found) -> None:
    """A parameter's name is the label. The phrases of a fallback are out of scope. Entries become synonyms of the
    parameters that are of their entity type."""
    about = {source.inner: source.document for source in sources}
    labels: dict[str, set[str]] = {}
    for source in sources:
        for intent, phrases in _intents(source, about):
            kinds = {str(one.get("id")): _last(one.get("entityType")) for one in maps(intent.get("parameters"))}
            for label, kind in kinds.items():
                labels.setdefault(kind, set()).add(label)
            name = OUT_OF_SCOPE if intent.get("isFallback") else intent.get("displayName") or source.inner.parent.stem
            for number, one in enumerate(phrases, 1):
                place = source.at(line_of(one), f"{number}")
                with found.row(place):
                    text, spans = joined([(part["text"], str(part.get("parameterId") or part.get("alias") or ""))
                                          for part in maps(one["parts"])])
                    language = one.get("languageCode") or _language(source)
                    found.add(place, text, str(name), spans, TRAIN, str(language))
    for source in sources:
        for kind, entry in _entries(source, about, found):
            place = source.at(line_of(entry))
            found.keep(place, sorted(labels.get(kind, {kind})), entry.get("value"), items(entry.get("synonyms")))


def _intents(
    source: Source, about: Mapping[PurePosixPath, Any]
) -> Iterator[tuple[Mapping[str, Any], list[Any]]]:
    """(what is said of an intent, its phrases), from its folder or from inside it."""
    for one in [source.document, *maps(source.document.get("intents"))]:
        if phrases := items(one.get("trainingPhrases")):
            folder = source.inner.parent.parent
            yield (one if "displayName" in one else about.get(folder / f"{folder.name}.json", {})), phrases


def _entries(
    source: Source, about: Mapping[PurePosixPath, Any], found: Found
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(entity type, a value with its synonyms)."""
    body = source.document
    if "entityTypes" not in source.inner.parts or "entities" not in body:
        return
    folder = source.inner.parent.parent
    kind = body if "displayName" in body else about.get(folder / f"{folder.name}.json", {})
    name = str(kind.get("displayName") or folder.name)
    for one in maps(body["entities"]):
        if kind.get("kind") == "KIND_REGEXP":
            found.notes[f"regular expressions that are not used here ({name})"] += 1
        elif str(one.get("value", "")).startswith("@"):
            found.notes[f"values that are made of other entities, which are not kept ({name})"] += 1
        else:
            yield name, one


def _last(kind: Any) -> str:
    """`room` of `@room`, and of `projects/…/entityTypes/room`."""
    return str(kind or "").rpartition("/")[2].removeprefix("@")


def _language(source: Source) -> str:
    return source.inner.stem if LANGUAGE.match(source.inner.stem) else ""


DIALOGFLOW_CX = Format("dialogflow-cx", knows, read)
