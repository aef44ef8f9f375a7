"""Texts to rows of token ids, with each token's place in the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding
from tokenizers import Tokenizer as FastTokenizer

from topology.errors import Misconfigured

UNKNOWN = ("[UNK]", "<unk>")  # as the families of BERT and of RoBERTa, XLM-R and T5 call it


@dataclass(frozen=True)
class Row:
    """One tokenised text. `offsets`: int32[tokens, 2], characters of the text, (0, 0) for special tokens.

    `kept`: bool[tokens], false for the tokens of the encoder's own prefix, whose vectors are not sent on.
    """

    ids: list[int]
    offsets: NDArray[np.int32]
    kept: NDArray[np.bool_]
    truncated: bool


class Tokenizer:
    """The encoder's own fast tokeniser, cut at `max_tokens` (special tokens and prefix included)."""

    def __init__(self, directory: Path, max_tokens: int, prefix: str = "") -> None:
        self._tokenizer = _fast(directory)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._prefix = prefix

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """A row for each text, in order. One by one: the threads of `encode_batch` take more time than they save."""
        return [self._row(self._tokenizer.encode(self._prefix + text)) for text in texts]

    def unknown_share(self, text: str) -> float:
        """Of the pieces of a text, those that the vocabulary does not have: 0..1."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        unknown = {self._tokenizer.token_to_id(name) for name in UNKNOWN} - {None}
        return sum(one in unknown for one in ids) / max(1, len(ids))

    def _row(self, encoding: Encoding) -> Row:
        offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
        special = np.array(encoding.special_tokens_mask, dtype=np.bool_)
        kept = special | (offsets[:, 1] > len(self._prefix))
        shifted = np.maximum(offsets - len(self._prefix), 0)
        shifted[special] = 0
        return Row(encoding.ids, shifted, kept, bool(encoding.overflowing))


def _fast(directory: Path) -> FastTokenizer:
    if (directory / "tokenizer.json").is_file():
        return FastTokenizer.from_file(str(directory / "tokenizer.json"))
    # Here, not above: transformers brings torch along, 3 s and 500 MB that an int8 worker does without.
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(str(directory), use_fast=True)
    if not loaded.is_fast:
        raise Misconfigured(f"{directory}: the tokeniser has no fast form, which gives the character offsets")
    found: FastTokenizer = loaded.backend_tokenizer
    return found
