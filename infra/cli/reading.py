"""How files of training data are read: what `data convert`, `data check` and `head train` have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from infra.training.formats.found import Options


def add_reading(command: argparse.ArgumentParser) -> None:
    """Put the options among those of `command`."""
    group = command.add_argument_group("reading")
    group.add_argument("--format", default="", metavar="NAME", help="read as this format, whatever the content says")
    group.add_argument("--lang", default="", metavar="LANG", help="only rows in this language (de is also de-AT)")
    group.add_argument("--encoding", default="", metavar="NAME", help="of files that are not UTF-8, such as cp1252")
    group.add_argument("--text", default="", metavar="COLUMN", help="the column of the text, where it has another name "
                       "than the usual (tables, rows of JSON, Parquet)")
    group.add_argument("--intent", default="", metavar="COLUMN", help="the column of the intent; where no column is "
                       "called so: the intent of rows that have none")
    group.add_argument("--entities", default="", metavar="COLUMN", help="the column of the entities: JSON lists of "
                       "start, end and label")
    group.add_argument("--out-of-scope", default="", metavar="NAMES", help="comma-separated: more names of the intent "
                       "that becomes out_of_scope")
    group.add_argument("--names", type=Path, action="append", default=[], metavar="FILE",
                       help="names of labels that are numbers: a name a line, a JSON list or id2label, or a JSON map "
                       "of columns to such; may be given again")
    group.add_argument("--offsets", default="", choices=("characters", "utf-16", "bytes"),
                       help="what start and end count (default: characters; LUIS: what gives whole words)")


def options_of(args: argparse.Namespace) -> Options:
    """What was typed. Raises: Misconfigured where a file of names cannot be read."""
    from infra.training.formats.found import Options
    from infra.training.formats.huggingface import read_names

    outside = tuple(name.strip() for name in args.out_of_scope.split(",") if name.strip())
    names = {column: known for place in args.names for column, known in read_names(place).items()}
    columns = {kind: name for kind, name in (("text", args.text), ("entities", args.entities)) if name}
    return Options(args.encoding, args.intent, names, args.offsets, outside, args.format, columns)
