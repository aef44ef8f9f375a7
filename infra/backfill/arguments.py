"""What one worker process of a replay is told, by `headrace backfill work` and `python -m infra.backfill` alike."""

from __future__ import annotations

import argparse

from infra.cli.values import number, whole

SHARE = "of the time that a worker may compute, above 0 to 1 (default: 1); for a GPU that live workers use too"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What one worker is told."""
    parser.add_argument("job", help="the job's id")
    parser.add_argument("--worker", type=whole(0), default=0, help="which of them this is, from 0 (default: 0)")
    parser.add_argument("--of", type=whole(), default=1, help="how many there are (default: 1)")
    parser.add_argument("--max-per-s", type=number(), default=0.0, help="records a second of this worker at most")
    parser.add_argument("--share", type=number(0, 1, above=True), default=1.0, help=SHARE)
    parser.add_argument("--ignore-live", action="store_true", help="do not pause while live traffic is late")
