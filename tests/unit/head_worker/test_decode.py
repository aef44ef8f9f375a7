import itertools

import numpy as np
import pytest
import regex

from head_worker.decode import best_path, is_legal, legal_transitions, path_with_transitions, spans_of, words_of

TAGS = ("O", "B-city", "I-city", "B-day", "I-day")


def offsets(*pairs):
    return np.array(pairs, np.int32)


def test_pieces_that_touch_are_one_word():
    assert words_of("to bos", offsets((0, 0), (0, 2), (3, 4), (4, 6), (0, 0))) == [(1, 0, 2), (2, 3, 6)]


def test_a_leading_blank_is_not_part_of_a_word():
    assert words_of("to bos", offsets((0, 2), (2, 6))) == [(0, 0, 2), (1, 3, 6)]


def test_punctuation_and_chinese_are_words_of_their_own():
    assert words_of("bos,", offsets((0, 3), (3, 4))) == [(0, 0, 3), (1, 3, 4)]
    assert words_of("开灯", offsets((0, 1), (1, 2))) == [(0, 0, 1), (1, 1, 2)]


@pytest.mark.parametrize("text, pieces, words", [
    ("ok 😀 now", ((0, 2), (2, 4), (3, 4), (3, 4), (4, 8)), ["ok", "😀", "now"]),  # a byte-level tokenizer
    ("नमस्ते दुनिया", tuple((at, at + 1) for at in range(13)), ["नमस्ते", "दुनिया"]),
    ("lumie\u0300re on", ((0, 5), (6, 8), (8, 11)), ["lumie\u0300re", "on"]),  # the mark is in no piece
    ("เปิดไฟที่ห้องน้ำ", ((0, 4), (4, 6), (6, 8), (8, 9), (9, 11), (11, 13), (13, 15), (15, 16)),
     ["เปิด", "ไฟ", "ที่", "ห้", "อง", "น้ำ"]),
    ("ເປີດໄຟ", ((0, 4), (4, 6)), ["ເປີດ", "ໄຟ"]),
    ("👍🏽 ok", ((0, 1), (1, 2), (3, 5)), ["👍🏽", "ok"]),
])
def test_no_word_ends_inside_a_letter_and_scripts_without_blanks_have_words(text, pieces, words):
    assert [text[start:end] for _, start, end in words_of(text, offsets(*pieces))] == words


CLUSTERS = [  # Thai, Hindi, Korean by parts, NFD, ZWJ emoji, flags, a skin tone, keycap, Latin, CJK, blanks, signs
    "ห้", "น้ำ", "ที่", "เ", "ป", "क्षि", "न", "स्ते", "\u1112\u1161\u11ab", "e\u0301", "n\u0303",
    "👩‍👩‍👧", "🏳️‍🌈", "🇩🇪", "🇫🇷", "👍🏽", "3️⃣", "a", "Z", "ß", "开", " ", "  ", "-", ",", "€", "\r\n",
]


@pytest.mark.parametrize("seed", range(200))
def test_words_of_any_pieces_are_whole_grapheme_clusters_in_order(seed):
    random = np.random.default_rng(seed)
    text = "".join(random.choice(CLUSTERS) for _ in range(random.integers(1, 20)))
    cuts = sorted({0, len(text), *random.integers(0, len(text) + 1, random.integers(0, 12)).tolist()})
    pieces = [(0, 0), *itertools.pairwise(cuts), (0, 0)]
    pieces = [one for one in pieces if random.random() > 0.1]  # a tokenizer may drop characters
    edges = {0, *(found.end() for found in regex.finditer(r"\X", text))}
    words = words_of(text, offsets(*pieces)) if pieces else []
    at = 0
    for token, start, end in words:
        assert at <= start < end and {start, end} <= edges, (text, pieces, words)
        assert text[start:end].strip() == text[start:end] and 0 <= token < len(pieces)
        at = end


@pytest.mark.parametrize("seed", range(20))
def test_no_path_is_illegal(seed):
    scores = np.random.default_rng(seed).normal(size=(12, len(TAGS))).astype(np.float32) * 5
    path = best_path(scores, TAGS)
    for before, after in zip([0, *path], path, strict=False):
        if TAGS[after].startswith("I-"):
            assert TAGS[before][2:] == TAGS[after][2:]


def test_the_best_legal_path_beats_the_greedy_one():
    scores = np.log(np.array([[0.6, 0.4, 0, 0, 0], [0.1, 0.1, 0.8, 0, 0]], np.float32) + 1e-9)
    assert best_path(scores, TAGS) == [1, 2]


def test_spans_end_where_the_next_begins():
    assert spans_of([1, 2, 1, 0, 3], TAGS) == [(0, 2, "city"), (2, 3, "city"), (4, 5, "day")]


def test_the_path_is_the_best_of_all_legal_ones():
    for seed in range(30):
        scores = np.random.default_rng(seed).normal(size=(4, len(TAGS))).astype(np.float32)
        legal = [p for p in itertools.product(range(len(TAGS)), repeat=4) if is_legal(p, TAGS)]
        best = max(legal, key=lambda p: sum(scores[i, tag] for i, tag in enumerate(p)))
        assert tuple(best_path(scores, TAGS)) == best


@pytest.mark.parametrize("seed", range(30))
def test_with_transitions_the_path_is_the_best_of_all_legal_ones(seed):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(4, len(TAGS))).astype(np.float32)
    transitions = legal_transitions(random.normal(size=(len(TAGS) + 1, len(TAGS))).astype(np.float32), TAGS)

    def total(path):
        pairs = zip((len(TAGS), *path), path, strict=False)
        return sum(scores[i, tag] for i, tag in enumerate(path)) + sum(transitions[pair] for pair in pairs)

    legal = [p for p in itertools.product(range(len(TAGS)), repeat=4) if is_legal(p, TAGS)]
    assert tuple(path_with_transitions(scores, transitions, TAGS)) == max(legal, key=total)


def test_a_transition_decides_between_tags_that_are_nearly_as_likely():
    scores = np.log(np.array([[0.1, 0.5, 0, 0.4, 0]], np.float32) + 1e-9)
    rather = np.zeros((len(TAGS) + 1, len(TAGS)), np.float32)
    assert path_with_transitions(scores, legal_transitions(rather, TAGS), TAGS) == [1]
    rather[-1, 3] = 1.0
    assert path_with_transitions(scores, legal_transitions(rather, TAGS), TAGS) == [3]


def test_where_nothing_near_is_legal_the_best_legal_path_is_taken():
    scores = np.array([[0, -20, -20, -20, -20], [-20, -30, 0, -30, -30]], np.float32)
    path = path_with_transitions(scores, legal_transitions(np.zeros((6, 5), np.float32), TAGS), TAGS)
    assert path == best_path(scores, TAGS) and is_legal(path, TAGS)
