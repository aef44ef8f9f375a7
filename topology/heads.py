"""A head's manifest, `head.json`: what it is, whose it is, and which embeddings it understands."""

from __future__ import annotations

import dataclasses
import functools
import json
from dataclasses import dataclass, field
from typing import Any

from topology.errors import BadHead, WrongSpace
from topology.json_map import known_fields, parse_json_map, shown
from topology.names import fault_of_name

FORMAT = 1
MAX_BYTES = 16 << 20  # of head.json: a head with 10,000 synonyms has 1 MB
MAX_LABEL_CHARS = 256
MAX_WIDTH = 65_536
SYSTEM_ENTITIES = ("number", "amount", "duration", "date", "time", "email")


@dataclass(frozen=True)
class HeadManifest:
    """Everything about a head except its weights. `hidden` is the encoder's width; `tags` begin with `O`.

    An utterance is out of scope below `out_of_scope_max_logit`, as of `head_worker.engine.max_logits`; where that is
    None, below the confidence `out_of_scope_threshold`, as older workers see it too.
    """

    tenant: str
    ring: str
    version: str
    space: str
    hidden: int
    intents: tuple[str, ...]
    tags: tuple[str, ...]
    sha256: str
    attention_heads: int = 4
    temperature: float = 1.0
    out_of_scope_threshold: float = 0.0
    created: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    precision: str = "float32"
    system_entities: tuple[str, ...] = ()  # kinds that every tenant understands: number, date, …
    synonyms: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # label → value → ways to say it
    out_of_scope_max_logit: float | None = None  # older heads have none: they refuse by confidence

    @functools.cached_property
    def meanings(self) -> dict[str, dict[str, str]]:
        """Label → what is said, without case → its value: the synonyms as they are looked up, of which a head may have
        a hundred thousand."""
        found: dict[str, dict[str, str]] = {}
        for label, values in self.synonyms.items():
            words = found.setdefault(label, {})
            for value, ways in values.items():
                for said in (value, *ways):
                    words.setdefault(said.casefold(), value)
        return found

    def to_json(self) -> str:
        """The text of `head.json`, without what is None."""
        body = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return json.dumps(body, indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> HeadManifest:
        """The manifest in the text. Raises: BadHead, naming the field, and nothing else."""
        try:
            body = parse_json_map(text, MAX_BYTES)
        except ValueError as error:
            raise BadHead(f"head.json is not JSON: {str(error)[:200]}") from error
        known = {f.name: f for f in dataclasses.fields(cls)}
        if type(body.get("format")) is not int or body["format"] != FORMAT:
            raise BadHead(f"head.json has format {shown(body.get('format'))}; this Headrace reads format {FORMAT}")
        body = known_fields(cls, body)  # a field that changes how the others are read comes with another format
        unset = dataclasses.MISSING
        required = [n for n, f in known.items() if f.default is unset and f.default_factory is unset]
        if missing := [name for name in required if name not in body]:
            raise BadHead(f"head.json lacks {', '.join(missing)}")
        for name in ("intents", "tags", "system_entities"):
            value = body.get(name, [])
            if not isinstance(value, list) or not all(_is_label(item) for item in value):
                raise BadHead(f"head.json: {name} must be a list of strings of 1 to {MAX_LABEL_CHARS} characters")
            body[name] = tuple(value)
        manifest = cls(**body)
        manifest._check()
        return manifest

    def _check(self) -> None:
        for name in ("tenant", "ring", "version"):
            if fault := fault_of_name(getattr(self, name)):
                raise BadHead(f"head.json: {name}: {fault}")
        for name in ("space", "sha256"):
            if not _is_label(value := getattr(self, name)):
                raise BadHead(f"head.json: {name} must be a string that is not empty, not {shown(value)}")
        self._check_numbers()
        if self.precision not in ("float32", "int8"):
            raise BadHead(f"head.json: precision must be float32 or int8, not {shown(self.precision)}")
        if unknown := [kind for kind in self.system_entities if kind not in SYSTEM_ENTITIES]:
            raise BadHead(f"head.json: system_entities {shown(unknown)}; known: {', '.join(SYSTEM_ENTITIES)}")
        if not are_synonyms(self.synonyms):
            raise BadHead("head.json: synonyms must map a label to a map of a value to the list of ways to say it")
        if not isinstance(self.created, str) or not isinstance(self.metrics, dict):
            raise BadHead("head.json: created must be a string and metrics a map")
        if not self.intents:
            raise BadHead("head.json: intents is empty")
        labels = {tag[2:] for tag in self.tags[1:] if tag[:2] in ("B-", "I-")}
        wanted = {"O", *(f"{kind}-{label}" for label in labels for kind in "BI")}
        if self.tags[:1] != ("O",) or set(self.tags) != wanted or len(self.tags) != len(wanted):
            raise BadHead("head.json: tags must be O, then B- and I- of every label, each once")

    def _check_numbers(self) -> None:
        for name in ("hidden", "attention_heads"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MAX_WIDTH:
                raise BadHead(f"head.json: {name} must be a whole number from 1 to {MAX_WIDTH}, not {shown(value)}")
        # In float32 a score divided by less, or more, is infinite or nothing; calibration gives 0.2 to 5.
        for name, least, most in (("temperature", 1e-3, 1e3), ("out_of_scope_threshold", 0, 1),
                                  ("out_of_scope_max_logit", 0, 1e6)):
            value = getattr(self, name)
            if value is None and name == "out_of_scope_max_logit":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise BadHead(f"head.json: {name} must be a number in {least:g}..{most:g}, not {shown(value)}")


def unknown_fields(text: str | bytes) -> list[str]:
    """What a manifest says beside: a later release's, or misspelled. Workers leave it out. Raises: ValueError."""
    return sorted(parse_json_map(text, MAX_BYTES).keys() - {f.name for f in dataclasses.fields(HeadManifest)})


def _is_label(value: Any) -> bool:
    """Whether clients can read it: `wire` takes labels of so many characters."""
    return isinstance(value, str) and 0 < len(value) <= MAX_LABEL_CHARS


def are_synonyms(value: Any) -> bool:
    """Whether it maps labels to maps of values to lists of ways to say them."""
    return isinstance(value, dict) and all(
        isinstance(values, dict) and all(
            isinstance(ways, list) and all(isinstance(way, str) for way in ways) for ways in values.values()
        ) for values in value.values()
    )


def check_space(head_space: str, embedding_space: str) -> None:
    """Raises: WrongSpace where head and embedding come from different encoders."""
    if head_space != embedding_space:
        raise WrongSpace(
            f"the head was trained on embedding space {head_space}, the embedding is of {embedding_space}: train the "
            "head again on the ring's present encoder, or put the former encoder back"
        )
