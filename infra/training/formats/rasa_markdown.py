"""Rasa's nlu.md, as its first versions had it: `## intent:greet`, then `- hello`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.training.formats.source import Source

SECTION = re.compile(r"^##\s*(intent|synonym|lookup|regex)\s*:\s*(\S.*?)\s*$", re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def examples_of(source: Source) -> Iterator[tuple[str, str, int, str]]:
    """(kind, name, line, `- example`) of every example of every section."""
    kind = name = ""
    text = COMMENT.sub(lambda found: "\n" * found[0].count("\n"), source.text)
    for number, line in enumerate(text.split("\n"), 1):
        if section := SECTION.match(line):
            kind, name = section[1], section[2]
        elif line.startswith("##"):
            kind = ""
        elif kind and line.strip():
            yield kind, name, number, re.sub(r"^\s*[*+-]\s+", "- ", line).strip()
