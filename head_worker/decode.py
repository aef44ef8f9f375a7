"""From tag scores to entity spans: words, the legal-transition decode, characters."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np
import regex
from numpy.typing import NDArray

REACH = 6.0  # nats below a word's likeliest tag: what is further is not looked at, transitions would not make up for it
# Scripts that are written without blanks: every piece of the tokenizer is a word. Thai, Lao, Tibetan, Burmese; Khmer;
# Tai; Chinese, Japanese and what follows.
_BLANKLESS = re.compile("[\u0e00-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u2e80-\U0010ffff]")


def words_of(text: str, offsets: NDArray[np.int32]) -> list[tuple[int, int, int]]:
    """The words as (index of the first token, start, end), characters, without blanks around.

    Pieces that touch make one word, unless one side is punctuation or a script written without blanks. No word begins
    or ends inside a grapheme cluster (Unicode's UAX 29): a letter with its marks, an emoji with its parts. Tokens that
    cover no character ([CLS], a lone blank) belong to no word.
    """
    words: list[tuple[int, int, int]] = []
    begins, ends = _clusters(text)
    for token, (start, end) in enumerate(offsets.tolist()):
        piece = text[start:end]
        start += len(piece) - len(piece.lstrip())
        end -= len(piece) - len(piece.rstrip()) if piece.strip() else 0
        if start >= end:
            continue
        start, end = begins[start], ends[end - 1]
        last = words[-1][2] if words else -1
        if start < last or (start == last and _joins(text[begins[start - 1]], text[start])):
            words[-1] = (words[-1][0], words[-1][1], max(end, last))
        else:
            words.append((token, start, end))
    return words


def _clusters(text: str) -> tuple[Sequence[int], Sequence[int]]:
    """Where the grapheme cluster of each character begins, and where it ends."""
    if text.isascii():
        return range(len(text)), range(1, len(text) + 1)
    begins, ends = list[int](), list[int]()
    for cluster in regex.finditer(r"\X", text):
        start, end = cluster.span()
        begins += [start] * (end - start)
        ends += [end] * (end - start)
    return begins, ends


def _joins(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and not _BLANKLESS.match(left) and not _BLANKLESS.match(right)


def is_legal(path: Sequence[int], tags: Sequence[str]) -> bool:
    """Whether every I- follows a B- or I- of its own label."""
    before = "O"
    for tag in (tags[index] for index in path):
        if tag[0] == "I" and before[2:] != tag[2:]:
            return False
        before = tag
    return True


def best_path(scores: NDArray[np.float32], tags: Sequence[str]) -> list[int]:
    """The legal tag sequence with the highest sum (Viterbi, 1967). `scores`: float32[words, tags], log chances.

    Only I- tags restrict what stands before them, and only to two tags: so a step looks at three candidates a tag.
    """
    inside, begins = _continued(tuple(tags))
    total = scores[0].copy()
    total[inside] = -np.inf
    back = np.empty(scores.shape, np.int64)
    for word in range(1, len(scores)):
        best = total.argmax()
        goes_on, begun = total[inside], total[begins]
        back[word] = best
        back[word, inside] = np.where(goes_on >= begun, inside, begins)
        step = scores[word] + total[best]
        step[inside] = scores[word, inside] + np.maximum(goes_on, begun)
        total = step
    path = [int(total.argmax())]
    for word in range(len(scores) - 1, 0, -1):
        path.append(int(back[word, path[-1]]))
    return path[::-1]


def path_with_transitions(
    scores: NDArray[np.float32], transitions: NDArray[np.float32], tags: Sequence[str]
) -> list[int]:
    """As `best_path`, with how well tags follow each other added: `transitions` as `legal_transitions` gives them.

    Where every word has one tag within reach, and they are legal, that is the answer at once.
    """
    near = scores > scores.max(axis=1, keepdims=True) - REACH
    likeliest: list[int] = scores.argmax(axis=1).tolist()
    if near.sum() == len(scores) and is_legal(likeliest, tags):
        return likeliest
    before, total = np.array([len(tags)]), np.zeros(1, np.float32)
    steps: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for word, row in enumerate(scores):
        here = np.flatnonzero(near[word])
        sums = total[:, None] + transitions[before[:, None], here]
        best = sums.argmax(axis=0)
        steps.append((here, best))
        before, total = here, sums[best, np.arange(len(here))] + row[here]
    if not np.isfinite(total.max()):
        return best_path(scores, tags)  # of what is near nothing is legal
    at, path = int(total.argmax()), []
    for here, best in reversed(steps):
        path.append(int(here[at]))
        at = int(best[at])
    return path[::-1]


def legal_transitions(transitions: NDArray[np.float32], tags: Sequence[str]) -> NDArray[np.float32]:
    """float32[tags + 1, tags], from a tag (last: from the beginning) to the next, -inf where it may not follow."""
    labels = np.array([tag[2:] for tag in (*tags, "O")])
    inside = np.array([tag.startswith("I") for tag in tags])
    return np.where(~inside | (labels[:, None] == labels[:-1]), transitions, np.float32(-np.inf))


@functools.lru_cache(4_096)  # heads come and go for as long as the worker lives
def _continued(tags: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(the I- tags, the B- tag of each)."""
    inside = [i for i, tag in enumerate(tags) if tag.startswith("I-")]
    return np.array(inside, np.int64), np.array([tags.index(f"B-{tags[i][2:]}") for i in inside], np.int64)


def spans_of(path: Sequence[int], tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, word after the last, label) of every entity on a legal path."""
    spans: list[tuple[int, int, str]] = []
    for word, tag in enumerate(tags[index] for index in path):
        if tag.startswith("B-"):
            spans.append((word, word + 1, tag[2:]))
        elif tag.startswith("I-"):
            spans[-1] = (spans[-1][0], word + 1, spans[-1][2])
    return spans
