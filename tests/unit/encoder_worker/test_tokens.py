"""Texts become rows of token ids."""

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


def test_each_text_has_its_row_and_what_is_too_long_is_cut(directory):
    rows = Tokenizer(directory, 12, "query: ").rows(TEXTS)
    assert [row.truncated for row in rows] == [False, False, False, True]
    assert [len(row.ids) for row in rows] == [8, 4, 10, 12]
    assert all(len(row.ids) == len(row.offsets) == len(row.kept) for row in rows)


def test_the_prefix_is_computed_and_not_sent_on(directory):
    (row,) = Tokenizer(directory, 12, "query: ").rows(["turn the lights on"])
    said = [TEXTS[0][start:end] for (start, end), kept in zip(row.offsets, row.kept, strict=True) if kept and end]
    assert said == ["turn", "the", "lights", "on"]
