"""ATIS as it was published, and homes that people could live in."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from infra.assets.datasets import atis, bio_entities, first_label, home_assistant
from infra.training.examples import Entity, Example, write_jsonl

LANGUAGES = ("en", "fr", "de", "es", "zh")


@pytest.fixture(scope="module", params=LANGUAGES)
def homes(request: pytest.FixtureRequest) -> list[Example]:
    return home_assistant(request.param, 1000, seed=7)


def covered(example: Example) -> list[tuple[str, str]]:
    return [(entity.label, example.text[entity.start : entity.end]) for entity in example.entities]


def test_atis_has_its_published_split() -> None:
    assert [len(atis(split)) for split in ("train", "dev", "test")] == [4478, 500, 893]
    assert atis("train")[0].text == "i want to fly from baltimore to dallas round trip"
    assert (
        atis("dev")[0].text
        == "i want to fly from boston at 838 am and arrive in denver at 1110 in the morning"
    )


def test_an_atis_entity_is_a_span_of_the_text() -> None:
    assert covered(atis("test")[0]) == [
        ("fromloc.city_name", "charlotte"),
        ("toloc.city_name", "las vegas"),
        ("stoploc.city_name", "st. louis"),
    ]
    assert all(span and span == span.strip() for e in atis("train") for _, span in covered(e))


def test_several_intents_are_kept_and_the_first_can_be_taken() -> None:
    assert any(";" in example.intent for example in atis("train"))
    assert first_label("atis_flight;atis_airfare") == first_label("atis_flight#x") == "atis_flight"
    assert {first_label(example.intent) for example in atis("dev")} <= {
        first_label(example.intent) for example in atis("train")
    }


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("O B-x I-x", [Entity(2, 8, "x")]),
        ("B-x B-x O", [Entity(0, 1, "x"), Entity(2, 4, "x")]),
        ("I-x I-y O", [Entity(0, 1, "x"), Entity(2, 4, "y")]),
    ],
)
def test_an_entity_ends_where_another_begins(tags: str, entities: list[Entity]) -> None:
    assert bio_entities(["a", "bb", "ccc"], tags.split()) == entities


def test_homes_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    assert home_assistant("fr", 50, seed=1) == home_assistant("fr", 50, seed=1)
    assert home_assistant("fr", 50, seed=1) != home_assistant("fr", 50, seed=2)


def test_more_of_a_home_begins_with_less_of_it() -> None:
    assert home_assistant("en", 300, seed=3)[:100] == home_assistant("en", 100, seed=3)


def test_a_home_speaks_of_many_things_about_equally_often(homes: list[Example]) -> None:
    counts = Counter(example.intent for example in homes)
    assert len(homes) == len({example.text for example in homes}) == 1000
    assert len(counts) >= 35
    assert max(counts.values()) <= 2 * len(homes) / len(counts)


def test_no_utterance_shows_its_template(homes: list[Example]) -> None:
    odd = re.compile(r"[\[\](){}<>|:]|  |^\s|\s$|_dirty|None")
    assert [example.text for example in homes if odd.search(example.text)] == []


def test_entities_are_whole_words_in_their_order(homes: list[Example]) -> None:
    for example in homes:
        ends = [0]
        for entity in example.entities:
            assert ends[-1] <= entity.start < entity.end <= len(example.text), example
            span = example.text[entity.start : entity.end]
            assert span == span.strip(), example
            ends.append(entity.end)


def test_rooms_devices_and_quantities_are_entities(homes: list[Example]) -> None:
    labels = Counter(entity.label for example in homes for entity in example.entities)
    assert {"name", "area", "floor", "brightness", "temperature", "minutes", "item", "state"} <= set(labels)


@pytest.mark.parametrize(
    ("language", "wrong"), [("fr", r"\b(le cuisine|la salon|le entrée)\b"), ("es", r"\b(el cocina|de el)\b")]
)
def test_articles_agree_with_their_nouns(language: str, wrong: str) -> None:
    assert [e.text for e in home_assistant(language, 1000, 5) if re.search(wrong, e.text)] == []


def test_a_language_without_a_home_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'xx': there are en, fr, de, es, zh"):
        home_assistant("xx", 1, seed=0)


def test_every_line_is_one_example(tmp_path: Path) -> None:
    example = Example("Café an", "TurnOn", (Entity(0, 4, "area"),))
    write_jsonl([example, Example("x", "y")], tmp_path / "homes.jsonl")
    lines = (tmp_path / "homes.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {
        "text": "Café an",
        "intent": "TurnOn",
        "entities": [{"start": 0, "end": 4, "label": "area"}],
    }
    assert json.loads(lines[1])["entities"] == []
    assert "Café" in lines[0]
