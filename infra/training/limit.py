"""Where a ring's encoder cuts texts."""

from __future__ import annotations

from collections.abc import Sequence

from encoder_worker.tokens import Tokenizer
from infra.training.checks import Tokens
from topology.encoders import find_encoder, read_meta
from topology.settings import Ring, Settings


def token_limit(settings: Settings, ring: Ring) -> Tokens | None:
    """Where the ring's encoder cuts texts; None where it is not prepared on this machine."""
    directory = find_encoder(ring.encoder)
    if directory is None:
        return None
    most = settings.limits.max_tokens
    prefix = read_meta(directory).prefix

    def cut(texts: Sequence[str]) -> list[int | None]:
        ends: list[int | None] = [None] * len(texts)
        # No tokenizer makes more tokens than bytes, so most texts need none; 8 is for special tokens.
        long = [i for i, text in enumerate(texts) if len((prefix + text).encode()) + 8 > most]
        if long:
            for i, row in zip(long, Tokenizer(directory, most, prefix).rows([texts[i] for i in long]), strict=True):
                ends[i] = int(row.offsets[:, 1].max()) if row.truncated else None
        return ends

    return cut
