"""docs/SETTINGS.md has every setting, with its default, and no other."""

import dataclasses
import re
from pathlib import Path
from typing import get_args, get_type_hints

from topology.secrets import Secret
from topology.settings import Cell, Quota, Ring, Settings

PAGE = Path(__file__).parents[2] / "docs" / "SETTINGS.md"
TABLES = {"rings": Ring, "rings.NAME.cells": Cell, "quotas.tenants": Quota}


def toml(value):
    if isinstance(value, Secret):
        return '""'
    if isinstance(value, tuple):
        return str(list(value))
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def settings_of(kind, place=""):
    """(dotted name, default) of every setting below a dataclass."""
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = f"{place}.{field.name}".lstrip(".")
        kinds = (hints[field.name], *get_args(hints[field.name]))
        table = next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)
        if name in TABLES:
            yield from settings_of(TABLES[name], f"{name}.NAME")
        elif name == "quotas.default":
            yield from settings_of(Quota, "quotas")
        elif table is not None and table is not Secret:
            yield from settings_of(table, name)
        elif not (field.name == "name" and place.endswith("NAME")):  # that one is the table's own name
            yield name, toml(field.default if field.default is not dataclasses.MISSING else field.default_factory())


def test_the_page_names_every_setting_with_its_default_and_no_other():
    rows = re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(settings_of(Settings))
