"""Other releases of Headrace on this machine: the next one, made from this tree, and earlier ones from its history.

The next release has a new field, last and with a default, in every record; a header on everything that it writes to
Kafka; a field more in replies, in the registry, in head.json and in its files; and a new metric. What it writes always
has them.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from topology.release import VERSION as VERSION

HERE = Path(__file__).parents[1]
PACKAGES = ("topology", "producers", "encoder_worker", "head_worker", "infra")
NEXT = "0.2.0"
FIELDS = {  # (file, class) → the line of a field that the next release adds
    ("topology/wire.py", "Utterance"): 'channel: str = ""',
    ("topology/wire.py", "Embedding"): 'channel: str = ""',
    ("topology/wire.py", "Prediction"): 'channel: str = ""',
    ("producers/reply.py", "Reply"): 'channel: str = ""',
    ("topology/registry.py", "HeadRecord"): 'owner: str = "next"',
    ("topology/registry.py", "Candidate"): 'owner: str = "next"',
    ("topology/heads.py", "HeadManifest"): 'owner: str = "next"',
    ("topology/stream/work.py", "Work"): 'owner: str = "next"',
    ("infra/backfill/job.py", "Asked"): 'only: str = ""',
    ("infra/backfill/job.py", "Span"): 'owner: str = "next"',
    ("infra/backfill/job.py", "Job"): 'owner: str = "next"',
    ("infra/backfill/jobs.py", "Beat"): 'owner: str = "next"',
    ("infra/stack/supervise.py", "ProcessState"): 'owner: str = "next"',
    ("infra/autoscale/history.py", "Stretch"): 'owner: str = "next"',
    ("topology/sections.py", "Settings"): 'owner: str = "next"',
}
CHANGES = {  # file → (what stands there, what the next release has instead)
    "topology/release.py": ('VERSION = "', f'VERSION = "{NEXT}"  # "'),
    "topology/wire.py": ("msgpack.packb(body, use_bin_type=True)", 'msgpack.packb({**body, "channel": "phone"})'),
    "topology/stream/records.py": ("headers: tuple[tuple[str, bytes], ...] = ()\n    shorter",
                                   'headers: tuple[tuple[str, bytes], ...] = (("headrace.next", b"1"),)\n    shorter'),
    "topology/stream/metrics.py": ("BOTH = {\n", 'BOTH = {\n    "owned": Figure("owned", "Of the next release"),\n'),
    "producers/reply.py": ('"replied": received_us},\n', '"replied": received_us}, record.channel,\n'),
    "infra/backfill/counts.py": ("self.lost, self.why]", 'self.lost, self.why, "next"]'),
    "infra/insights/windows.py": ('"l": self.latency,\n', '"l": self.latency, "z": "next",\n'),
    "topology/placement.py": ('"draining": sorted(shares.draining)}',
                              '"draining": sorted(shares.draining), "z": "next"}'),
    "infra/insights/ledger.py": ('"i": self.topic_id,\n', '"i": self.topic_id, "z": "next",\n'),
}


def next_release(home: Path) -> Path:
    """A directory with the next release, made from this tree."""
    root = _copied(home / "next")
    for (name, kind), line in FIELDS.items():
        _add_field(root / name, kind, line)
    for name, (before, after) in CHANGES.items():
        text = (root / name).read_text()
        assert text.count(before) == 1, f"{name} has changed: say in tests/releases.py how its next release differs"
        (root / name).write_text(text.replace(before, after))
    return root


def _copied(root: Path) -> Path:
    for name in PACKAGES:
        shutil.copytree(HERE / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "headrace.py", root)
    return root


def _add_field(place: Path, kind: str, line: str) -> None:
    """Append a field to a dataclass."""
    text = place.read_text()
    body = next(n for n in ast.parse(text).body if isinstance(n, ast.ClassDef) and n.name == kind).body
    last = max(n.end_lineno for n in body if isinstance(n, ast.AnnAssign))
    lines = text.splitlines(keepends=True)
    lines.insert(last, f"    {line}\n")
    place.write_text("".join(lines))


def has_commit(commit: str) -> bool:
    """Whether the history of this checkout has it: a shallow clone may not."""
    if shutil.which("git") is None:
        return False
    asked = ["git", "-C", str(HERE), "cat-file", "-e", f"{commit}^{{commit}}"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def earlier_release(home: Path, commit: str) -> Path:
    """A directory with the code of a commit; the kernels are this tree's, where theirs have the same interface."""
    root = home / commit
    root.mkdir()
    archive = subprocess.run(["git", "-C", str(HERE), "archive", commit, *PACKAGES, "headrace.py"], check=True,
                             capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(root)], input=archive, check=True)
    for built in (HERE / "topology/native").glob("_native*"):
        shutil.copy(built, root / "topology/native")
    return root


def command(root: Path, usual: list[str]) -> list[str]:
    """A command line that runs under the release in a directory. Of this tree come only the tests."""
    return ["env", f"PYTHONPATH={root}{os.pathsep}{HERE}", "PYTHONSAFEPATH=1", *usual]


def told_by(root: Path, module: str, *arguments: str, given: bytes = b"") -> bytes:
    """What a module of the tests prints under a release."""
    asked = command(root, [sys.executable, "-m", module, *arguments])
    done = subprocess.run(asked, input=given, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()[-3_000:]
    return done.stdout


def version_of(root: Path) -> str:
    """As its commits tell; `?` of code from before there was one."""
    place = root / "topology/release.py"
    found = re.search(r'^VERSION = "([^"]+)"', place.read_text(), re.MULTILINE) if place.exists() else None
    return found[1] if found else "?"
