"""The commands of `headrace bench` that measure what a large fleet needs: docs/PLAN.md."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.cli.command import Run

Add = Callable[[Any, str, Run, str], argparse.ArgumentParser]


def add(bench: Any, add_one: Add) -> None:
    """Put them among the others; `add_one` gives each the options that all have."""
    registry = add_one(bench, "registry", _registry, "reading a registry of very many heads (5 minutes)")
    registry.add_argument("sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000],
                          help="heads (default: 10000 100000 1000000)")
    registry.add_argument("--beside", type=Path, metavar="DIR", help="a checkout of other code, to read them in turn")
    add_one(bench, "cells", _cells, "finding a tenant's cell among up to 10,000 (10 s)")
    replies = add_one(bench, "replies", _replies, "what replies take in Redis (20 s)")
    replies.add_argument("--replies", type=int, default=100_000, help="how many (default: 100000)")
    store = add_one(bench, "store", _store, "the head store with very many tenants (a minute)")
    store.add_argument("--dir", type=Path, help="on another disk (default: that of temporary files)")
    store.add_argument("sizes", type=int, nargs="*", default=[1_000, 10_000, 100_000],
                       help="tenants (default: 1000 10000 100000)")


def _registry(args: argparse.Namespace) -> None:
    from benchmarks import registry, report

    result = registry.run([10_000] if args.short else args.sizes, args.beside)
    report.finish("registry", result, _given(args), args.json, registry.plot(result))


def _cells(args: argparse.Namespace) -> None:
    from benchmarks import cells, report

    result = cells.run()
    report.finish("cells", result, _given(args), args.json, cells.plot(result))


def _replies(args: argparse.Namespace) -> None:
    from benchmarks import reply_memory, report

    result = reply_memory.run(args.replies // (10 if args.short else 1))
    report.finish("replies", result, _given(args), args.json, reply_memory.plot(result))


def _store(args: argparse.Namespace) -> None:
    from benchmarks import report, store

    result = store.run([1_000] if args.short else args.sizes, args.dir)
    report.finish("store", result, _given(args), args.json, store.plot(result))


def _given(args: argparse.Namespace) -> dict[str, object]:
    return {name: value for name, value in vars(args).items() if name not in ("run", "config", "json", "dir", "beside")}
