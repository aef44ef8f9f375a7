"""What a version promises (docs/UPGRADES.md) is still there: every name of 0.1.0 that people write down.

`0.1.0-names.json` is what `python -m tests.upgrade.test_promises` printed. A name that goes is a breaking change: it
stands under **Breaking** in CHANGELOG.md, and leaves the file by hand.
"""

import argparse
import inspect
import json
from pathlib import Path

import headrace
from infra.cli.main import make_parser
from producers import Headrace, SyncHeadrace
from tests.unit.test_metrics_documented import served
from tests.unit.test_settings_page import settings_of
from topology import errors, wire
from topology.settings import Settings

NAMES = Path(__file__).parent / "0.1.0-names.json"


def commands(parser, path=""):
    """Every command of ours and its flags, a line each."""
    yield f"headrace {path}".strip()
    for action in parser._actions:
        yield from (f"headrace {path} {flag}".replace("  ", " ") for flag in action.option_strings)
    for group in [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]:
        for name, inner in group.choices.items():
            if name != "bench":  # of another package
                yield from commands(inner, f"{path} {name}".strip())


def names():
    """Part → the names that it promises."""
    calls = [*inspect.getmembers(Headrace, inspect.isfunction), ("init", Headrace.__init__)]
    return {
        "exports": sorted(headrace.__all__),
        "calls": sorted(f"{name}.{parameter}" for name, call in calls if not name.startswith("_")
                        for parameter in inspect.signature(call).parameters if parameter != "self"),
        "synchronous calls": sorted(n for n, _ in inspect.getmembers(SyncHeadrace, inspect.isfunction) if n[0] != "_"),
        "reply": sorted(headrace.Reply.__dataclass_fields__), "entity": sorted(headrace.Entity.__dataclass_fields__),
        "errors": sorted({kind.code for kind in vars(errors).values()
                          if inspect.isclass(kind) and issubclass(kind, errors.HeadraceError)}),
        "records": sorted(f"{kind.__name__}.{name}" for kind in (wire.Utterance, wire.Embedding, wire.Prediction)
                          for name in kind.__dataclass_fields__),
        "settings": sorted(name for name, _ in settings_of(Settings)),
        "commands": sorted(set(commands(make_parser()))),
        "metrics": sorted(f"{name} {kind}" for name, kind in served().items()),
    }


def test_no_name_that_0_1_0_promises_has_gone():
    now = names()
    gone = {part: sorted(set(wanted) - set(now[part])) for part, wanted in json.loads(NAMES.read_text()).items()}
    assert {part: some for part, some in gone.items() if some} == {}


def test_the_clients_calls_take_no_new_argument_that_an_old_caller_would_have_to_give():
    promised = set(json.loads(NAMES.read_text())["calls"])
    for name, call in inspect.getmembers(Headrace, inspect.isfunction):
        for parameter in inspect.signature(call).parameters.values():
            if not name.startswith("_") and parameter.name != "self" and f"{name}.{parameter.name}" not in promised:
                assert parameter.default is not inspect.Parameter.empty, f"{name}({parameter.name})"


if __name__ == "__main__":
    print(json.dumps(names(), indent=1))
