"""Whether rings' encoders can read their languages, asked before anything is started or trained."""

from __future__ import annotations

from importlib.util import find_spec

from topology.encoders import find_encoder
from topology.settings import Ring, Settings


def check_ring(settings: Settings, ring: Ring) -> None:
    """Raises: Misconfigured. Nothing is said of an encoder that is not on this machine: its worker looks for itself."""
    directory = find_encoder(ring.encoder)
    if directory is None or not (directory / "tokenizer.json").is_file() or find_spec("tokenizers") is None:
        return
    # Here, not above: a machine that only sends or only checks does without the tokenizers' library.
    from encoder_worker.languages import SAMPLES, check_languages
    from encoder_worker.tokens import Tokenizer

    if not SAMPLES.keys().isdisjoint(ring.languages):
        tokenizer = Tokenizer(directory, settings.limits.max_tokens)
        check_languages(ring.name, ring.encoder, tokenizer, ring.languages)
