"""Writes what is rendered, and leaves alone what somebody else wrote."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from topology.errors import Misconfigured

LIST = ".headrace-rendered.json"  # path → sha256 of each file that was rendered


def write(place: Path, files: Mapping[str, str], force: bool = False) -> list[str]:
    """Write `files` below `place`, and remove what was rendered before and is no longer. Returns a line for each file
    that is new, changed or removed.

    Raises: Misconfigured where a file there was not rendered, or was changed since, unless `force`; OSError.
    """
    before = _listed(place)
    if not force and (strange := _strange(place, before)):
        raise Misconfigured(f"{place} has files that were not rendered, or were changed since: {', '.join(strange[:5])}"
                            f"{' …' if len(strange) > 5 else ''}; give another directory, or --force to write over")
    said = []
    for path, text in files.items():
        target = place / path
        there = target.read_text(encoding="utf-8") if target.is_file() else None
        if there != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            said.append(f"{'new' if there is None else 'changed'}\t{target}")
    for path in sorted(before.keys() - files.keys()):
        (place / path).unlink(missing_ok=True)
        said.append(f"removed\t{place / path}")
    digests = {path: _digest(text.encode()) for path, text in files.items()}
    (place / LIST).write_text(json.dumps(digests, indent=1) + "\n")
    return said


def _listed(place: Path) -> dict[str, str]:
    try:
        found = json.loads((place / LIST).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Misconfigured(f"{place / LIST} is no JSON: {error}; remove it") from error
    inside = {str(path): str(digest) for path, digest in found.items()} if isinstance(found, dict) else {}
    return {path: digest for path, digest in inside.items() if not Path(path).is_absolute() and ".." not in path}


def _strange(place: Path, before: Mapping[str, str]) -> list[str]:
    there = (one for one in sorted(place.rglob("*")) if one.is_file() and one.name != LIST)
    return [path for one in there if before.get(path := str(one.relative_to(place))) != _digest(one.read_bytes())]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
