"""Texts become the same rows one by one and side by side."""

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from encoder_worker.tokens import Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "turn", "the", "lights", "on", "off", "in", "kitchen", "query",
         ":", "##s"]
TEXTS = ["turn the lights on", "", "light in the kitchen, off", "turn off " * 20]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    home = tmp_path_factory.mktemp("tokenizer")
    BertWordPieceTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save(str(home / "tokenizer.json"))
    return home


def test_one_by_one_and_side_by_side_give_the_same_rows(directory):
    single = Tokenizer(directory, 12, "query: ").rows(TEXTS)
    parallel = Tokenizer(directory, 12, "query: ", parallel=True).rows(TEXTS)
    for one, other in zip(single, parallel, strict=True):
        assert one.ids == other.ids and one.truncated == other.truncated
        assert np.array_equal(one.offsets, other.offsets) and np.array_equal(one.kept, other.kept)
    assert [row.truncated for row in single] == [False, False, False, True]


def test_the_prefix_is_computed_and_not_sent_on(directory):
    (row,) = Tokenizer(directory, 12, "query: ").rows(["turn the lights on"])
    said = [TEXTS[0][start:end] for (start, end), kept in zip(row.offsets, row.kept, strict=True) if kept and end]
    assert said == ["turn", "the", "lights", "on"]
