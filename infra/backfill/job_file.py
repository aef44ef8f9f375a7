"""A job in a TOML file: what is asked for, and how it is run."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from infra.backfill.job import TOPIC_TARGET, Asked
from topology.errors import Misconfigured
from topology.toml_lines import Mistakes, line_numbers


@dataclass(frozen=True)
class JobFile:
    """The file's shape; `from` and `to` stand for `start` and `end`, and `heads` is a table tenant → version."""

    id: str = ""
    ring: str = ""
    source: str = "utterances"
    start: str = "earliest"
    end: str = "latest"
    tenants: tuple[str, ...] = ()
    targets: tuple[str, ...] = (TOPIC_TARGET,)
    tenant: str = ""
    workers: int = 0
    max_per_s: float = 0.0


NAMES = {"from": "start", "to": "end"}


def read_job_file(place: Path) -> tuple[JobFile, dict[str, str]]:
    """(the file, its heads). Raises: Misconfigured, with a line for each mistake."""
    try:
        text = place.read_text(encoding="utf-8")
        body = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{place}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{place}: not TOML: {error}") from error
    lines = line_numbers(text)
    mistakes = Mistakes(str(place), lines | {new: lines[old] for old, new in NAMES.items() if old in lines})
    heads = mistakes.table(body.pop("heads", {}), "heads")
    for tenant, version in heads.items():
        if not isinstance(version, str):
            mistakes.add(f"heads.{tenant}", "a version in quotes is wanted, or \"current\"")
    for name, place_of in NAMES.items():
        if name in body:
            body[place_of] = body.pop(name)
    for name in ("start", "end"):  # TOML has times of its own
        if name in body and not isinstance(body[name], str):
            body[name] = str(body[name])
    found: JobFile = mistakes.build(JobFile, body, "")
    mistakes.raise_if_any()
    return found, dict(heads)


def asked_of(file: JobFile, heads: dict[str, str], ring: str) -> Asked:
    """What the file asks for, in `ring`."""
    shared = {f.name for f in fields(Asked)} & {f.name for f in fields(JobFile)}
    return Asked(**{**{name: getattr(file, name) for name in shared}, "ring": ring, "heads": heads})
