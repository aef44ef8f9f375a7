"""Two versions of a head, utterance by utterance: what counts as which change, and what is kept to be read."""

import json
import tracemalloc

import pytest

from infra.backfill.compare.comparison import Comparison, Sampling, wilson
from infra.backfill.compare.entity_changes import entity_changes


def entity(label, start, end, value=None):
    return {"start": start, "end": end, "label": label, "text": "x" * (end - start), "confidence": 0.9, "value": value}


def row(intent="on", confidence=0.9, entities=(), out_of_scope=False, error="", text="light on", offset=0):
    return {
        "utterance_id": f"u{offset}", "text": text, "intent": "" if error else intent, "error": error,
        "confidence": 0.0 if error else confidence, "out_of_scope": out_of_scope, "entities": list(entities),
        "source": "topic", "partition": 0, "offset": offset,
    }


def compared(*pairs, sampling=None):
    comparison = Comparison(sampling) if sampling else Comparison()
    for before, after in pairs:
        comparison.add(before, after)
    return comparison.summary()


def test_each_utterance_counts_once_under_the_gravest_of_its_changes():
    kitchen, bath = entity("room", 0, 7), entity("room", 8, 12)
    told = compared(
        (row(), row()),
        (row(entities=[kitchen]), row(entities=[kitchen], confidence=0.5)),
        (row(entities=[kitchen]), row(entities=[bath])),
        (row(entities=[kitchen]), row(out_of_scope=True)),
        (row(), row("off", out_of_scope=True)),
        (row(), row(error="bad_head")),
        (row(error="text_too_long"), row(error="text_too_long")),
    )
    assert told["kinds"] == {"same": 2, "entities": 1, "scope": 1, "intent": 1, "refused": 1}
    assert (told["utterances"], told["compared"]) == (7, 6)
    assert (told["same_intent"]["count"], told["same_result"]["count"]) == (4, 2)
    assert told["refused"] == {"before": {}, "after": {"bad_head": 1}}
    assert told["refused_by_both"] == {"text_too_long": 1}
    json.dumps(told)


def test_changed_intents_are_listed_with_the_largest_first_and_by_the_label_before():
    pairs = [(row("on"), row("off"))] * 3 + [(row("dim"), row("on"))] + [(row("on"), row("on"))] * 6
    told = compared(*pairs)
    assert told["changed_intents"] == [["on", "off", 3], ["dim", "on", 1]]
    assert [(one["intent"], one["changed"], one["utterances"]) for one in told["by_intent"]] == [
        ("on", 3, 9), ("dim", 1, 1),
    ]
    assert sum(n for _, _, n in told["matrix"]) == 10


def test_a_version_that_refuses_does_not_agree_and_changes_its_intent_to_none():
    told = compared(*[(row("on"), row(error="wrong_space"))] * 4, (row(error="bad_head"), row("on")))
    assert told["same_intent"]["share"] == 0
    assert told["by_intent"][0] == {
        "intent": "on", "utterances": 4, "changed": 4, "share": 1.0, "interval": list(wilson(4, 4)),
    }
    assert [(one["before"], one["after"]) for one in told["samples"]] == [
        ("on", "refused: wrong_space"), ("refused: bad_head", "on"),
    ]


def test_utterances_that_nobody_takes_for_in_scope_are_told_apart_from_changes_that_a_caller_sees():
    told = compared((row("on", out_of_scope=True), row("off", out_of_scope=True)), (row("on"), row("off")))
    assert told["changed_intents"] == [["on", "off", 2]]
    assert told["changed_out_of_scope_in_both"] == 1


@pytest.mark.parametrize(("before", "after", "wanted"), [
    ([entity("room", 0, 4)], [entity("room", 0, 4)], [("room", "same")]),
    ([entity("room", 0, 4, "a")], [entity("room", 0, 4, "b")], [("room", "other value")]),
    ([entity("room", 0, 4)], [entity("room", 2, 9)], [("room", "other span")]),
    ([entity("room", 0, 4)], [entity("room", 4, 9)], [("room", "only before"), ("room", "only after")]),
    ([entity("room", 0, 4)], [], [("room", "only before")]),
    ([], [entity("room", 0, 4)], [("room", "only after")]),
    ([entity("room", 0, 4)], [entity("place", 0, 4)], [("room", "only before"), ("place", "only after")]),
    # The second is the same one; what overlaps it too is no other span of it.
    ([entity("room", 0, 4)], [entity("room", 0, 9), entity("room", 0, 4)], [("room", "same"), ("room", "only after")]),
    ([entity("room", 0, 4)] * 2, [entity("room", 0, 4)], [("room", "same"), ("room", "only before")]),
])
def test_entities_are_paired_by_label_and_place_then_by_overlap(before, after, wanted):
    assert entity_changes(before, after).labels == wanted


def test_a_span_that_only_changed_its_label_is_told_as_such():
    assert entity_changes([entity("room", 0, 4)], [entity("place", 0, 4)]).relabeled == [("room", "place")]


def test_confidences_are_compared_over_all_and_over_those_that_agree():
    told = compared((row(confidence=1.0), row(confidence=0.5)), (row(confidence=0.2), row("off", confidence=0.3)))
    assert told["confidence"]["shift"] == pytest.approx(-0.2)
    assert told["confidence_same_intent"]["shift"] == pytest.approx(-0.5)
    assert told["confidence"]["histogram"]["before"][-1] == 1  # 1.0 is in the last bin, not beyond it


def test_the_samples_of_a_change_are_those_both_versions_are_surest_of_and_no_text_comes_twice():
    pairs = [(row(confidence=i / 100, text=f"text {i % 50}", offset=i), row("off", confidence=0.5)) for i in range(100)]
    told = compared(*pairs, sampling=Sampling(each=3))
    (group,) = told["samples"]
    assert [one["text"] for one in group["texts"]] == ["text 49", "text 48", "text 47"]
    assert [one["offset"] for one in group["texts"]] == [99, 98, 97]
    assert group["utterances"] == 100


def test_memory_does_not_grow_with_the_utterances_nor_with_the_length_of_a_text():
    comparison = Comparison(Sampling(each=2, changes=10))
    grown = []
    tracemalloc.start()
    for i in range(6_000):
        text = f"{i} " + "long " * 10_000
        comparison.add(row(f"i{i % 40}", text=text, offset=i), row(f"i{i % 37}", text=text))
        if i in (2_999, 5_999):
            grown.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    told = comparison.summary()
    assert grown[1] - grown[0] < 50_000, grown
    assert len(told["samples"]) == 10 and told["changes_without_samples"] > 0
    assert len(told["samples"][0]["texts"][0]["text"]) == 401


@pytest.mark.parametrize(("count", "total", "low", "high"), [
    (0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (950, 1000, 0.9347, 0.9618),
])
def test_the_interval_of_a_share_is_wilsons(count, total, low, high):
    assert wilson(count, total) == pytest.approx((low, high), abs=1e-4)
