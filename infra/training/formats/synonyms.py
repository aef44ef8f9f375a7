"""Words for the same thing, as `data convert` writes them beside the rows and `head train --synonyms` reads them."""

from __future__ import annotations

from collections.abc import Sequence

from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.source import Source
from topology.heads import are_synonyms

NAME = "synonyms.json"  # what `data convert` calls it, or TENANT.synonyms.json


def knows(source: Source) -> bool:
    """Label → value → ways to say it."""
    return any(source.document or ()) and are_synonyms(source.document)


def read(sources: Sequence[Source], found: Found) -> None:
    """No rows are in it."""
    for source in sources:
        for label, values in source.document.items():
            for value, ways in values.items():
                found.keep(source.at(1), [label], value, ways)


SYNONYMS = Format("synonyms", knows, read)
