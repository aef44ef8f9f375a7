"""`headrace.toml`: rings, cells, brokers and limits, read whole and checked whole.

Every mistake is named with its line before anything starts. The file's shape stands in `sections`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any

from topology.connections import Broker as Broker
from topology.connections import Redis as Redis
from topology.connections import absent, check_broker, check_redis, has_password, in_the_clear
from topology.doubts import doubts
from topology.errors import Misconfigured
from topology.sections import Autoscale as Autoscale
from topology.sections import Backfill as Backfill
from topology.sections import Cache as Cache
from topology.sections import Cell as Cell
from topology.sections import Heads as Heads
from topology.sections import Insights as Insights
from topology.sections import Limits as Limits
from topology.sections import Quota as Quota
from topology.sections import Quotas as Quotas
from topology.sections import Ring as Ring
from topology.sections import Settings as Settings
from topology.sections import Topics as Topics
from topology.toml_lines import Mistakes, line_numbers

DEVICES, PRECISIONS = ("auto", "cpu", "cuda"), ("auto", "float32", "bfloat16", "float16", "int8")
MOST_PARTITIONS = 10_000  # of a topic: a cluster of Kafka holds some 200,000
NAME_LETTERS = set("abcdefghijklmnopqrstuvwxyz0123456789-_")


def settings_path(path: str | Path | None = None) -> Path:
    """The file in force: the argument, else $HEADRACE_CONFIG, else ./headrace.toml."""
    return Path(path or os.environ.get("HEADRACE_CONFIG") or "headrace.toml")


def load(path: str | Path | None = None) -> Settings:
    """The settings of `path`, checked whole; while `headrace up` runs them, with the addresses it gave out.

    Raises: Misconfigured with one line for each mistake, `file:line: what (mend)`.
    """
    where = settings_path(path)
    try:
        text = where.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"{where}: cannot be read ({error}). Give a path, set HEADRACE_CONFIG, or run `headrace init`."
        ) from error
    return parse(text, str(where))


def missing(settings: Settings, path: str | Path | None = None) -> list[str]:
    """A line for each file or secret of `settings` that this process cannot read: it could not sign on."""
    return _told(absent(settings.broker, settings.redis), path)


def advice(settings: Settings, path: str | Path | None = None) -> list[str]:
    """A line for each thing that works, and that a person should know of."""
    return _told(in_the_clear(settings.broker, settings.redis), path)


def doubted(settings: Settings, path: str | Path | None = None) -> list[str]:
    """A line for each thing that the file may say and hardly means."""
    return _told(doubts(settings, tomllib.loads(settings_path(path).read_text(encoding="utf-8"))), path)


def _told(found: Iterable[tuple[str, str]], path: str | Path | None) -> list[str]:
    places = list(found)
    if not places:
        return []
    where = settings_path(path)
    mistakes = Mistakes(str(where), line_numbers(where.read_text(encoding="utf-8")))
    for place, what in places:
        mistakes.add(place, what)
    return [message for _, message in sorted(mistakes.found)]


def parse(text: str, where: str = "headrace.toml") -> Settings:
    """The settings that `text` describes. Raises: Misconfigured, naming every mistake with its line."""
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{where}: not TOML: {error}") from error
    mistakes = Mistakes(where, line_numbers(text))
    settings = _settings(body, mistakes)
    mistakes.raise_if_any()
    return settings


def _settings(body: dict[str, Any], mistakes: Mistakes) -> Settings:
    plain = {k: v for k, v in body.items() if k != "rings"}
    sections = {"broker": Broker, "redis": Redis, "heads": Heads, "limits": Limits, "cache": Cache, "topics": Topics,
                "backfill": Backfill, "autoscale": Autoscale, "insights": Insights}
    values: dict[str, Any] = {}
    for name, kind in sections.items():
        values[name] = mistakes.build(kind, mistakes.table(plain.pop(name, {}), name), name)
    values["quotas"] = _quotas(plain.pop("quotas", {}), mistakes)
    settings: Settings = mistakes.build(Settings, plain, "", skip=(*sections, "quotas", "rings"), extra=values)
    rings = {n: _ring(n, t, mistakes) for n, t in mistakes.table(body.get("rings", {}), "rings").items()}
    if not rings:
        mistakes.add("rings", "no ring is described; add a table such as [rings.en] with languages and encoder")
    _check(settings, rings, mistakes)
    return Settings(**{**settings.__dict__, "rings": rings})


def _quotas(table: Any, mistakes: Mistakes) -> Quotas:
    own = dict(mistakes.table(table, "quotas"))
    tenants = mistakes.table(own.pop("tenants", {}), "quotas.tenants")
    default = mistakes.build(Quota, own, "quotas")
    given = {name: f"quotas.tenants.{name}" for name in tenants}
    return Quotas(default, {
        name: mistakes.build(Quota, {**own, **mistakes.table(tenants[name], place)}, place)
        for name, place in given.items()
    })


def _ring(name: str, table: Any, mistakes: Mistakes) -> Ring:
    place = f"rings.{name}"
    table = dict(mistakes.table(table, place))
    cells = mistakes.table(table.pop("cells", {"a": {}}), f"{place}.cells")
    if not cells:
        mistakes.add(f"{place}.cells", "a ring needs a cell, such as [rings.NAME.cells.a]")
    built = {
        cell: mistakes.build(Cell, mistakes.table(t, f"{place}.cells.{cell}"), f"{place}.cells.{cell}",
                             skip=("name",), extra={"name": cell})
        for cell, t in cells.items()
    }
    ring: Ring = mistakes.build(Ring, table, place, skip=("name", "cells"), extra={"name": name, "cells": built})
    return ring


def _check(settings: Settings, rings: dict[str, Ring], mistakes: Mistakes) -> None:
    check_broker(settings.broker, mistakes)
    check_redis(settings.redis, mistakes)
    if has_password(settings.heads.store):
        mistakes.add("heads.store", "a password does not stand in this file: give the store's library its credentials "
                     "as it takes them from the environment")
    if has_password(settings.insights.export):
        mistakes.add("insights.export", "a password does not stand in this file: give the store's library its "
                     "credentials as it takes them from the environment")
    _check_name("prefix", settings.prefix, mistakes, NAME_LETTERS | {"."})
    if settings.topics.min_insync_replicas > settings.topics.replication:
        mistakes.add("topics.min_insync_replicas", "more than topics.replication: every write would be refused")
    _check_autoscale(settings.autoscale, mistakes)
    spoken: dict[str, str] = {}
    for name, ring in rings.items():
        _check_ring(name, ring, spoken, mistakes)


def _check_ring(name: str, ring: Ring, spoken: dict[str, str], mistakes: Mistakes) -> None:
    place = f"rings.{name}"
    _check_name(place, name, mistakes, NAME_LETTERS)
    mistakes.choice(f"{place}.device", ring.device, DEVICES)
    mistakes.choice(f"{place}.precision", ring.precision, PRECISIONS)
    if not ring.encoder:
        mistakes.add(f"{place}.encoder", "a ring needs an encoder: a known name, a directory, or a hub id")
    if not ring.languages:
        mistakes.add(f"{place}.languages", 'a ring needs languages, such as ["en"]')
    if len(set(ring.languages)) < len(ring.languages):
        mistakes.add(f"{place}.languages", "a language stands there more than once")
    for language in ring.languages:
        if language != language.lower() or not (2 <= len(language) <= 8) or not language.isalpha():
            mistakes.add(f"{place}.languages", f"{language!r} is no primary language subtag, such as 'en'")
        if spoken.setdefault(language, name) != name:
            mistakes.add(f"{place}.languages", f"{language!r} is already spoken by ring {spoken[language]!r}")
    _check_workers(place, ring, mistakes)
    pinned: dict[str, str] = {}
    for cell in ring.cells.values():
        _check_name(f"{place}.cells.{cell.name}", cell.name, mistakes, NAME_LETTERS)
        _check_workers(f"{place}.cells.{cell.name}", cell, mistakes)
        for tenant in cell.pins:
            if pinned.setdefault(tenant, cell.name) != cell.name:
                mistakes.add(f"{place}.cells.{cell.name}.pins",
                             f"tenant {tenant!r} is already pinned to cell {pinned[tenant]!r}")


def _check_workers(place: str, of: Ring | Cell, mistakes: Mistakes) -> None:
    if of.partitions > MOST_PARTITIONS:
        mistakes.add(f"{place}.partitions", f"{of.partitions}: at most {MOST_PARTITIONS:,} are wanted")
    if of.workers > of.partitions:
        mistakes.add(f"{place}.workers", f"a partition has one worker: of {of.workers} on {of.partitions} partitions "
                     f"some would have nothing to do; set partitions = {of.workers} or more")


def _check_autoscale(of: Autoscale, mistakes: Mistakes) -> None:
    if not 0 < of.utilization <= 1:
        mistakes.add("autoscale.utilization", f"{of.utilization:g}: above 0, and 1 at most")
    for name in ("objective_s", "catch_up_s", "every_s"):
        if not 0 < getattr(of, name) < inf:
            mistakes.add(f"autoscale.{name}", f"{getattr(of, name):g}: a number of seconds above 0 is wanted")
    for name in ("start_s", "rebalance_s", "quiet_s"):
        if not 0 <= getattr(of, name) < inf:
            mistakes.add(f"autoscale.{name}", f"{getattr(of, name):g}: a number of seconds, 0 or more, is wanted")


def _check_name(place: str, name: str, mistakes: Mistakes, letters: set[str]) -> None:
    if not name or not set(name) <= letters or len(name) > 60:
        mistakes.add(place, f"{name!r}: names are 1 to 60 of a-z, 0-9, '-' and '_'")
