"""A directory with headrace.toml, a BERT of random weights and some rows: where the commands of data are typed."""

import itertools
import json

import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

WORDS = ("turn", "switch", "on", "off", "light", "lamp", "fan", "kitchen", "bathroom", "hall", "the", "in", "please")
CONFIG = """
[limits]
max_tokens = 16
[rings.en]
languages = ["en"]
encoder = "{encoder}"
device = "cpu"
[rings.en.cells.a]
"""


def make_home(place):
    """headrace.toml, and a BERT of random weights whose vectors still tell words apart."""
    torch.manual_seed(0)
    encoder = place / "encoder"
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(encoder)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(encoder)
    (place / "headrace.toml").write_text(CONFIG.format(encoder=encoder))


def marked():
    """(intent, text with Rasa's marks) of 72 utterances, in an order that mixes them."""
    found = [
        (act, f"{verb} {act} the {thing} in the [{room}](room){end}")
        for verb, act, thing, room, end in itertools.product(
            ("turn", "switch"), ("on", "off"), ("light", "lamp", "fan"), ("kitchen", "bathroom", "hall"),
            ("", " please"),
        )
    ]
    return [found[i * 31 % len(found)] for i in range(len(found))]


def nlu(rows):
    sections = (f"- intent: {intent}\n  examples: |\n    - {text}\n" for intent, text in rows)
    return "nlu:\n" + "".join(sections)


def write(place, *rows):
    place.write_text("\n".join(json.dumps(row) if isinstance(row, dict) else row for row in rows))


def plenty(intent, *labelled):
    return [{"text": f"{intent} number {i}", "intent": intent, "entities": list(labelled)} for i in range(12)]


def span(start, end, label, **more):
    return {"start": start, "end": end, "label": label, **more}
