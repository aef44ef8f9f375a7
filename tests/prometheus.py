"""The rules of Prometheus' own checker, `promtool check metrics`; where it is installed, it too."""

import re
import shutil
import subprocess
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

ABBREVIATED = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
NOT_BASE = re.compile(r"(milli|micro|nano|kilo|mega|giga|tera|kibi|mebi)(seconds?|bytes?)|minutes|hours|days|weeks")


def faults(text):
    """What promtool's linter would say."""
    for family in text_string_to_metric_families(text):
        name, kind = family.name, family.type
        parts = set(name.split("_"))
        samples = Counter((one.name, tuple(sorted(one.labels.items()))) for one in family.samples)
        ends = [one.name.endswith("_total") for one in family.samples]
        labels = {label for one in family.samples for label in one.labels}
        yield from (f"{name}: {what}" for what, wrong in {
            "no help": not family.documentation.strip(), "no type": kind in ("unknown", "untyped"),
            "a counter ends in _total": kind == "counter" and not all(ends),
            "only a counter does": kind != "counter" and any(ends),
            "a suffix of histograms": name.endswith(("_bucket", "_count", "_sum")),
            "a label of histograms": kind == "gauge" and {"le", "quantile"} & labels,
            "its type in its name": {"gauge", "counter", "histogram", "summary"} & parts,
            "a unit in short": ABBREVIATED & parts, "not a base unit": NOT_BASE.search(name),
            "not in snake case": not all(re.fullmatch(r"[a-z][a-z0-9_]*", one) for one in {name, *labels}),
            "twice": max(samples.values(), default=1) > 1,
        }.items() if wrong)


def told_by_promtool(text):
    """What promtool says; nothing where it is not installed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        return ""
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr if done.returncode else ""
