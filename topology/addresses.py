"""Where the stack that `headrace up` started listens: a small file in the state directory.

Ports are free ones, chosen at start, so the addresses cannot stand in headrace.toml.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from topology.errors import Misconfigured
from topology.settings import Settings, load, missing, settings_path

FILE = "addresses.json"
RACK = "HEADRACE_RACK"  # of this process, before `broker.rack`: processes of all zones read one headrace.toml


def write(settings: Settings, bootstrap: str, redis_url: str) -> None:
    """Tell later commands where this stack listens. What is `external` stands in headrace.toml and not here."""
    target = Path(settings.state_dir) / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    given = {
        "bootstrap": "" if settings.broker.kind == "external" else bootstrap,
        "redis": "" if settings.redis.kind == "external" else redis_url,
    }
    partial.write_text(json.dumps(given))
    partial.rename(target)


def forget(settings: Settings) -> None:
    """The stack is going away: later commands must not look for it."""
    (Path(settings.state_dir) / FILE).unlink(missing_ok=True)


def placed(settings: Settings, folder: Path) -> Settings:
    """`settings` with its relative directories taken from `folder`, where headrace.toml stands."""
    state = (folder / settings.state_dir).resolve()
    store = settings.heads.store
    heads = replace(settings.heads, store=store if "://" in store else str((folder / store).resolve()))
    broker, redis = settings.broker.placed(folder), settings.redis.placed(folder)
    return replace(settings, state_dir=str(state), heads=heads, broker=broker, redis=redis)


def load_placed(path: str | Path | None = None) -> Settings:
    """The settings of headrace.toml, checked, with absolute directories, and this process's zone ($HEADRACE_RACK);
    addresses may still be open."""
    settings = placed(load(path), settings_path(path).resolve().parent)
    rack = os.environ.get(RACK, "").strip() or settings.broker.rack
    return replace(settings, broker=replace(settings.broker, rack=rack))


def load_present(path: str | Path | None = None) -> Settings:
    """As `load_placed`, with every file and secret there that a process needs to sign on.

    Raises: Misconfigured with a line for each that is not.
    """
    settings = load_placed(path)
    if lacking := missing(settings, path):
        raise Misconfigured("\n".join(lacking))
    return settings


def load_running(path: str | Path | None = None) -> Settings:
    """The settings of headrace.toml with the addresses to connect to.

    Raises: Misconfigured where the file leaves an address to `headrace up` and nothing is up, or refers to a file or a
    secret that is not there.
    """
    settings = load_present(path)
    if settings.broker.kind == "external" and settings.redis.kind == "external":
        return settings
    try:
        given = json.loads((Path(settings.state_dir) / FILE).read_text())
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"no stack of {settings_path(path)} is running: start it with `headrace up` "
            f"(or set kind = \"external\" with its addresses). Looked in {settings.state_dir}/{FILE}."
        ) from error
    return at(settings, given["bootstrap"], given["redis"])


def at(settings: Settings, bootstrap: str, redis_url: str) -> Settings:
    """`settings` with addresses filled in where headrace.toml names none of its own."""
    broker, redis = settings.broker, settings.redis
    if broker.kind != "external":
        broker = replace(broker, bootstrap=bootstrap)
    if redis.kind != "external":
        redis = replace(redis, url=redis_url)
    return replace(settings, broker=broker, redis=redis)
