"""Files that are known and not read: what they are, and what to do instead."""

from __future__ import annotations

import re

XLSX = "an Excel workbook: save its sheet as CSV UTF-8, or as text with tabs"
WORKBOOKS = {"xl/workbook.xml": XLSX, "content.xml": "an OpenDocument sheet: save it as CSV"}  # by a member of the zip
STARTS = {  # by a file's first bytes
    b"\xd0\xcf\x11\xe0": XLSX,
    b"\x80\x04": "a Python pickle, which can run any code: write its rows as JSON lines",
    b"SQLite format 3": "an SQLite database: write its rows as CSV or JSON lines",
    b"%PDF": "a PDF: its rows are wanted as CSV or JSON lines",
}
SPACY = ("spaCy's DocBin: write its documents as JSON lines of text, intent and entities (start_char, end_char, label_ "
         "of doc.ents; the likeliest of doc.cats)")
TEXTS = (  # by what a text holds
    (re.compile(r"^(?:intents|entities|responses|slots|actions)\s*:", re.MULTILINE),
     "a Rasa domain, or another YAML without examples: data/nlu.yml has them"),
    (re.compile(r"^(?:stories|rules)\s*:", re.MULTILINE),
     "Rasa's stories or rules, which have no examples: nlu.yml has them"),
    (re.compile(r'\A\s*\{[^\n]*"messages"\s*:\s*\['), "chat messages, as language models are tuned on: write text and "
     "intent as JSON lines"),
    (re.compile(r"^[%~@]\[[^\]]+\]", re.MULTILINE), "a Chatito or Chatette template: generate its examples as Rasa's"),
    (re.compile(r"\A(?:#[^\n]*\n|\s)*\[[\w. -]+\]\s*\n(?![\[{\"])"), "a sentences.ini of Rhasspy, or another .ini: "
     "expand its templates into text and intent as CSV"),
    (re.compile(r"^T\d+\t\S+ \d+ \d+\t", re.MULTILINE), "brat's annotations: write them as CoNLL, with their texts"),
    (re.compile(r"\A\s*(?:<\?xml|<[a-zA-Z])"), "XML: write its rows as CSV or JSON lines"),
)


def what_bytes_are(body: bytes, name: str) -> str:
    """What a file is and what to do, by its first bytes; empty where nothing is known of it."""
    if name.endswith(".spacy"):
        return SPACY
    return next((what for start, what in STARTS.items() if body.startswith(start)), "")


def what_text_is(text: str) -> str:
    """What a text is and what to do; empty where nothing is known of it."""
    return next((what for pattern, what in TEXTS if pattern.search(text[:20_000])), "")
