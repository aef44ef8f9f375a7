"""Every format, and what a file is by its content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infra.training.formats.alexa import ALEXA
from infra.training.formats.annotated import DOCCANO, PRODIGY, SPACY
from infra.training.formats.chosen import by_usual_names, has_rows, names_in, settled
from infra.training.formats.clinc import CLINC
from infra.training.formats.clu import CLU
from infra.training.formats.columns import unknown
from infra.training.formats.conll import CONLL
from infra.training.formats.dialogflow import DIALOGFLOW
from infra.training.formats.dialogflow_cx import DIALOGFLOW_CX
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Options
from infra.training.formats.huggingface import HUGGINGFACE
from infra.training.formats.label_studio import LABEL_STUDIO
from infra.training.formats.lex import LEX
from infra.training.formats.lines import LINES
from infra.training.formats.listed import mark
from infra.training.formats.lu import LU
from infra.training.formats.luis import LUIS
from infra.training.formats.massive import MASSIVE
from infra.training.formats.rasa import RASA
from infra.training.formats.snips import SNIPS
from infra.training.formats.snips_yaml import SNIPS_YAML
from infra.training.formats.source import Source, sources_of
from infra.training.formats.synonyms import SYNONYMS
from infra.training.formats.table import TABLE
from infra.training.formats.unread import what_text_is
from infra.training.formats.watson import WATSON
from infra.training.formats.wit import WIT
from topology.errors import Misconfigured

LOOKED_AT = 4096  # letters that tell a text
SHOWN = 5  # names of files that are left out
# The first that knows a file reads it: what is told by more of the content stands before what is told by less.
FORMATS = (
    SYNONYMS, LUIS, LU, CLU, ALEXA, DIALOGFLOW_CX, WIT, LABEL_STUDIO, LEX, WATSON, MASSIVE, RASA, CLINC, SNIPS,
    SNIPS_YAML, DIALOGFLOW, PRODIGY, DOCCANO, SPACY, LINES, HUGGINGFACE, CONLL, TABLE,
)


def read(places: Sequence[Path], options: Options | None = None) -> Found:
    """Everything that files, directories or archives hold.

    Raises: Misconfigured where nothing can be read, or no file is of a format that is known.
    """
    options = options or Options()
    given = _named_apart([sources_of(place, options.encoding) for place in places])
    found = Found(settled([source for sources in given for source in sources], options))
    groups: dict[str, list[Source]] = {}
    others: list[str] = []
    for sources in given:
        for source in sources:
            if (format_ := _format_of(source, found.options)) is not None:
                groups.setdefault(format_.name, []).append(source)
            elif len(sources) > 1:
                others.append(str(source.inner))
            else:
                raise Misconfigured(_unknown(source))
    if others:
        names = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        found.notes[f"files left out, of no known format ({names})"] += len(others)
    for format_ in FORMATS:
        if of_it := groups.get(format_.name):
            found.formats.append(format_.name)
            _read(format_, of_it, found)
            for source in of_it:
                if source.note:
                    found.notes[f"of a file's encoding: {source.note}"] += 1
    found.settle()
    mark(found)
    if not groups:
        raise Misconfigured(f"{', '.join(map(str, places))}: no file of a known format is in it")
    return found


def _read(format_: Format, sources: list[Source], found: Found) -> None:
    """Formats refuse rows one by one; a file that is beyond that is refused whole, and not by a traceback."""
    try:
        format_.read(sources, found)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        names = ", ".join(source.name for source in sources[:SHOWN])
        raise Misconfigured(f"{names}: cannot be read as {format_.name}: {type(error).__name__}: {error}") from error


def _named_apart(given: list[list[Source]]) -> list[list[Source]]:
    """The sources, whose names tell languages only where they tell several: one `hr.test.csv` is of a department."""
    languages = {source.language for sources in given for source in sources} - {""}
    if len(languages) > 1:
        return given
    return [[replace(source, named=False) for source in sources] for sources in given]


def _format_of(source: Source, options: Options) -> Format | None:
    """The format that was named, or that of rows whose columns were, or that of the content."""
    if options.format:
        return _named(options.format)
    if has_rows(source, options.columns):
        return HUGGINGFACE
    return recognized(source) or (TABLE if options.columns and names_in(source) else
                                  HUGGINGFACE if by_usual_names(source) else None)


def recognized(source: Source) -> Format | None:
    """The format of a file, by its content."""
    return next((one for one in FORMATS if source.text.strip() and one.knows(source)), None)


def _named(name: str) -> Format:
    for one in FORMATS:
        if one.name == name:
            return one
    raise Misconfigured(f"--format {name}: one of {', '.join(one.name for one in FORMATS)} is wanted")


def _unknown(source: Source) -> str:
    if not source.text.strip():
        return f"{source.name}: the file is empty"
    if what := what_text_is(source.text):
        return f"{source.name}: not read here: it looks like {what}"
    if "\0" in source.text[:LOOKED_AT]:
        return f"{source.name}: no text: bytes of 0 are in it"
    document, fault = source.parsed
    is_json = source.text.lstrip()[:1] in ("{", "[")
    if names := [name for line in source.lines[:1] for name in line.body]:
        return str(unknown(source.name, names))
    hint = f" (as JSON: {fault or 'there is nothing in it'})" if is_json and not document else ""
    return f"{source.name}: of no format that is known{hint}; `headrace data convert --help` shows them"
