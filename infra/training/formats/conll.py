"""CoNLL and BIO files: a token a line, or a sentence a line (ATIS)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from infra.training.formats.format import Format
from infra.training.formats.found import Found
from infra.training.formats.segments import found_in, spoken, tagged
from infra.training.formats.source import Source

TAG = re.compile(r"^(O|[BIESLUM]-\S+)$")
COMMENT = re.compile(r"^#\s*(text|intent)\s*[:=]\s?(.*)$", re.IGNORECASE)
ARROW = re.compile(r"\s<=>\s")  # ATIS: word:TAG word:TAG <=> intent
PARALLEL = ("seq.in", "seq.out", "label")  # ATIS and Snips as joint models read them: three files of as many lines
LOOKED_AT = 400  # lines that tell the form


@dataclass
class Sentence:
    """A sentence in the making. `line`: its first."""

    line: int
    tokens: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    text: str = ""
    intent: str = ""
    numbered: bool = False
    fault: str = ""


def knows(source: Source) -> bool:
    """Most lines end or begin with a BIO tag, or end in an arrow and an intent; or one of seq.in, seq.out, label."""
    if source.inner.name in PARALLEL:
        return True
    lines = _looked_at(source)
    tagged_lines = max(_tagged(lines, -1), _tagged(lines, 0))
    arrows = sum(ARROW.search(line) is not None for line in lines)
    cntk = sum("\t" in line and "BOS " in line for line in lines)
    return bool(lines) and 2 * max(tagged_lines, arrows, cntk) > len(lines)


def _looked_at(source: Source) -> list[str]:
    return [line for _, line in source.text_lines[:LOOKED_AT] if line.strip() and not line.startswith("#")]


def _tagged(lines: Sequence[str], column: int) -> int:
    """How many lines have a tag in this column."""
    return sum(len(cells := line.split()) > 1 and TAG.match(cells[column]) is not None for line in lines)


def read(sources: Sequence[Source], found: Found) -> None:
    """Places come from `# text` where it is there. Else one blank is put between two tokens, which is said."""
    for source in sources:
        if source.inner.name in PARALLEL:
            continue
        for sentence in _sentences(source, found):
            _take(source, sentence, found, source.split)
    beside = {(source.inner.parent, source.inner.name): source for source in sources}
    for (folder, name), source in beside.items():
        if name == PARALLEL[0]:
            _parallel(source, beside.get((folder, PARALLEL[1])), beside.get((folder, PARALLEL[2])), found)


def _take(source: Source, one: Sentence, found: Found, split: str) -> None:
    place = source.at(one.line)
    with found.row(place):
        if one.fault:
            raise ValueError(one.fault)
        text, places = one.text, found_in(one.text, one.tokens) if one.text else None
        if places is None:
            text, places = spoken(one.tokens)
            told = "whose tokens are not those of `# text`" if one.text else "without `# text`"
            found.notes[f"rows {told}, with one blank put between two tokens"] += 1
        found.add(place, text, found.or_unnamed(one.intent), tagged(one.tags, places), split, source.language)


def _sentences(source: Source, found: Found) -> Iterator[Sentence]:
    """Every sentence of a file of its own form."""
    one: Sentence | None = None
    looked_at = _looked_at(source)
    is_first = _tagged(looked_at, 0) > _tagged(looked_at, -1)  # O, then the word: MIT's movie and restaurant sets
    for number, line in source.text_lines:
        if not line.strip():
            if one and one.tokens:
                yield one
            one = None
        elif ARROW.search(line) or ("\t" in line and line.startswith("BOS ")):
            yield _whole(number, line)
        elif not line.startswith("-DOCSTART-"):
            one = one or Sentence(number)
            _line("\t".join(line.split(None, 1)[::-1]) if is_first and not line.startswith("#") else line, one)
    if one and one.tokens:
        yield one


def _line(line: str, one: Sentence) -> None:
    """A comment, or a token and its tag: the last column; before it a number or other columns may stand."""
    if line.startswith("#") and (comment := COMMENT.match(line)):
        if comment[1].lower() == "text":
            one.text = comment[2].strip()
        else:
            one.intent = comment[2].strip()
        return
    if line.startswith("#") and not TAG.match(line.split()[-1]):
        return
    cells = line.split("\t") if "\t" in line else line.split()
    one.numbered = one.numbered or (not one.tokens and len(cells) > 2 and cells[0] == "1")
    if one.numbered and not cells[0].isdigit():
        return  # 2-3: two tokens that CoNLL-U writes as one more
    if len(cells) < (3 if one.numbered else 2):
        one.fault = one.fault or f"a line of it has no tag: {line[:40]!r}"
    one.tokens.append(cells[1] if one.numbered and len(cells) > 1 else cells[0])
    one.tags.append(cells[-1].strip())
    if one.numbered and len(cells) == 4 and not one.intent:
        one.intent = cells[2]


def _whole(number: int, line: str) -> Sentence:
    """A sentence on one line: `word:TAG … <=> intent`, or `BOS words EOS` tab `O TAGS… intent`."""
    if ARROW.search(line):
        words, _, intent = line.rpartition("<=>")
        pairs = [word.rpartition(":")[::2] for word in words.split()]
        return Sentence(number, [word for word, _ in pairs], [tag for _, tag in pairs], "", intent.strip())
    said, _, marked = line.partition("\t")
    tokens, tags = said.split()[1:-1], marked.split()
    return Sentence(number, tokens, tags[1:-1], "", tags[-1])


def _parallel(words: Source, tags: Source | None, intents: Source | None, found: Found) -> None:
    marked = [line for _, line in tags.text_lines] if tags else []
    named = [line for _, line in intents.text_lines] if intents else []
    for i, (number, line) in enumerate(words.text_lines):
        if line.strip():
            tokens = line.split()
            own = marked[i].split() if i < len(marked) else ["O"] * len(tokens)
            intent = named[i].strip() if i < len(named) else ""
            _take(words, Sentence(number, tokens, own, "", intent), found, words.split)


CONLL = Format("conll", knows, read)
