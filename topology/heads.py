"""A head's manifest, `head.json`: what it is, whose it is, and which embeddings it understands."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from topology.errors import BadHead, WrongSpace

FORMAT = 1
SYSTEM_ENTITIES = ("number", "amount", "duration", "date", "time", "email")


@dataclass(frozen=True)
class HeadManifest:
    """Everything about a head except its weights. `hidden` is the encoder's width; `tags` begin with `O`."""

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

    def to_json(self) -> str:
        """The text of `head.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> HeadManifest:
        """The manifest in the text. Raises: BadHead, naming the field."""
        try:
            body = json.loads(text)
        except ValueError as error:
            raise BadHead(f"head.json is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadHead("head.json is not a JSON map")
        known = {f.name: f for f in dataclasses.fields(cls)}
        if body.get("format") != FORMAT:
            raise BadHead(f"head.json has format {body.get('format')!r}; this Headrace reads format {FORMAT}")
        if unknown := sorted(set(body) - set(known)):
            raise BadHead(f"head.json has unknown fields: {', '.join(unknown)}")
        unset = dataclasses.MISSING
        required = [n for n, f in known.items() if f.default is unset and f.default_factory is unset]
        if missing := [name for name in required if name not in body]:
            raise BadHead(f"head.json lacks {', '.join(missing)}")
        for name in ("intents", "tags"):
            if not isinstance(body[name], list) or not all(isinstance(item, str) for item in body[name]):
                raise BadHead(f"head.json: {name} must be a list of strings")
            body[name] = tuple(body[name])
        body["system_entities"] = tuple(body.get("system_entities", ()))
        manifest = cls(**body)
        manifest._check()
        return manifest

    def _check(self) -> None:
        for name in ("tenant", "ring", "version", "space", "sha256"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise BadHead(f"head.json: {name} must be a string that is not empty, not {value!r}")
        for name in ("hidden", "attention_heads"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadHead(f"head.json: {name} must be a whole number from 1, not {value!r}")
        if not isinstance(self.temperature, int | float) or not self.temperature > 0:
            raise BadHead(f"head.json: temperature must be above 0, not {self.temperature!r}")
        if not isinstance(self.out_of_scope_threshold, int | float) or not 0 <= self.out_of_scope_threshold <= 1:
            raise BadHead(f"head.json: out_of_scope_threshold must be in 0..1, not {self.out_of_scope_threshold!r}")
        if self.precision not in ("float32", "int8"):
            raise BadHead(f"head.json: precision must be float32 or int8, not {self.precision!r}")
        if unknown := [kind for kind in self.system_entities if kind not in SYSTEM_ENTITIES]:
            raise BadHead(f"head.json: system_entities {unknown}; known: {', '.join(SYSTEM_ENTITIES)}")
        if not _are_synonyms(self.synonyms):
            raise BadHead("head.json: synonyms must map a label to a map of a value to the list of ways to say it")
        if not self.intents:
            raise BadHead("head.json: intents is empty")
        for name, part in (("tenant", self.tenant), ("ring", self.ring), ("version", self.version)):
            if "/" in part or part in (".", ".."):
                raise BadHead(f"head.json: {name} {part!r} cannot name a directory")
        labels = {tag[2:] for tag in self.tags[1:] if tag[:2] in ("B-", "I-")}
        wanted = {"O", *(f"{kind}-{label}" for label in labels for kind in "BI")}
        if self.tags[:1] != ("O",) or set(self.tags) != wanted or len(self.tags) != len(wanted):
            raise BadHead("head.json: tags must be O, then B- and I- of every label, each once")


def _are_synonyms(value: Any) -> bool:
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
