"""Which ring serves a language. A ring is a set of languages, an encoder, and a list of cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from topology.errors import UnknownLanguage


def primary(tag: str) -> str:
    """The primary language subtag of a BCP 47 tag, in lower case: `pt-BR` gives `pt`."""
    return tag.replace("_", "-").split("-", 1)[0].strip().lower()


def ring_of(tag: str, rings: Mapping[str, Iterable[str]]) -> str:
    """The ring whose languages hold the tag's primary subtag. `rings`: name → languages.

    Raises: UnknownLanguage, naming the languages that are served.
    """
    language = primary(tag)
    for name, languages in rings.items():
        if language in languages:
            return name
    served = ", ".join(sorted({lang for languages in rings.values() for lang in languages}))
    raise UnknownLanguage(
        f"no ring speaks {tag!r}; served here: {served}. Add the language to a ring in headrace.toml, "
        "or leave `lang` out to have it identified."
    )
