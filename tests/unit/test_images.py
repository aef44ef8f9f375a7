"""The container images: each role has what it imports and nothing of the others, at the locked versions."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytest.importorskip("torch")
pytest.importorskip("faust")

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "infra" / "docker" / "Dockerfile"
# A role: the packages of ours that run in its image, and what of them does not.
ROLES = {
    "client": ("headrace producers topology", ""),
    "head": ("head_worker topology", ""),
    "encoder": ("encoder_worker topology", ""),
    "encoder-cuda": ("infra.backfill", ""),  # and what an encoder has
    "tools": ("infra", "infra.demo infra.assets.datasets infra.assets.homes"),
}
IMPORTER = """
import importlib, json, pkgutil, re, sys

has, blocked, wanted, left_out = (set(some) for some in json.loads(sys.argv[1]))

class Without:
    # As if neither the modules nor the metadata of other packages were installed.

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in blocked else self.finder.find_spec(name, path, target)

    def find_distributions(self, *context):
        found = getattr(self.finder, "find_distributions", lambda *context: ())(*context)
        return [one for one in found if re.sub("[-_.]+", "-", one.name).lower() in has]

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
for name in sorted(wanted):
    found = importlib.import_module(name)
    for _, each, _ in pkgutil.walk_packages(getattr(found, "__path__", ()), f"{name}."):
        if each not in left_out and not each.endswith("._native"):
            importlib.import_module(each)
"""


def stages():
    """Stage → (what it is from, its instructions as (word, rest))."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            source, _, name = rest.partition(" AS ")
            found[name] = (source, [])
        elif found:
            found[name][1].append((word, " ".join(rest.split())))
    return found


STAGES = stages()


def extras_of(role):
    installs = " ".join(rest for word, rest in STAGES[f"packages-{role}"][1] if word == "RUN")
    return set(re.findall(r"--extra (\S+)", installs))


def closure(extras):
    """Every distribution that the base and these extras ask for."""
    found, left = set(), [("headrace", frozenset(extras))]
    while left:
        name, wanted = left.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        try:
            asked = [Requirement(one) for one in requires(name) or ()]
        except PackageNotFoundError:  # of another platform
            continue
        for one in asked:
            marker = one.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                left.append((canonicalize_name(one.name), frozenset(one.extras)))
    return {name for name, _ in found}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_imports_nothing_but_what_its_image_has(role):
    has = closure(extras_of(role))
    owners = {module: set(map(canonicalize_name, names)) for module, names in packages_distributions().items()}
    blocked = [module for module, names in owners.items() if not names & has]
    wanted, left_out = (some.split() for some in ROLES[role])
    assert "pytest" in blocked
    done = subprocess.run([sys.executable, "-c", IMPORTER, json.dumps([[*has], blocked, wanted, left_out])],
                          capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("role", ROLES)
def test_every_package_of_an_image_is_locked_with_its_hash(role):
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^(\S+?)==\S+.*\\\n    --hash=sha256:", lock, re.MULTILINE))
    assert closure(extras_of(role)) - {"headrace"} <= locked
    for word, rest in STAGES[f"packages-{role}"][1]:
        if word == "RUN" and "--no-deps" not in rest:
            assert "-c requirements.lock" in rest and "--no-verify-hashes" not in rest


def test_heads_and_clients_come_without_torch_and_clients_without_anything_of_workers():
    assert not {"torch", "transformers", "tokenizers", "faust-streaming", "grpcio"} & closure(extras_of("head"))
    assert not {"torch", "transformers", "safetensors", "faust-streaming", "grpcio"} & closure(extras_of("client"))


def test_what_a_build_copies_is_there_and_let_in():
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    assert ignore[1] == "*" and [name for name in let_in if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{name}.py" for name in project["tool"]["setuptools"]["py-modules"]}
    assert packages | modules | {project["project"]["readme"], "pyproject.toml", "LICENSE"} <= let_in
    seen = set()
    for name, (source, instructions) in STAGES.items():
        assert source in seen or source == "${PYTHON}"
        for word, rest in instructions:
            if word == "COPY" and (stage := re.match(r"--from=(\S+)", rest)):
                assert stage[1] in seen
            elif word == "COPY":
                *sources, _ = shlex.split(rest)
                assert set(sources) <= let_in | {"."}
        seen.add(name)


@pytest.mark.parametrize("role", ROLES)
def test_an_image_runs_as_nobody_special_and_hears_signals(role):
    source, instructions = STAGES[role]
    assert source == "run"
    every = [*STAGES["run"][1], *instructions]
    assert [rest for word, rest in every if word == "USER"][-1] == "10001:10001"
    entry = [json.loads(rest) for word, rest in instructions if word == "ENTRYPOINT"]
    assert entry[0][:2] == ["tini", "--"]
    assert f"--from=packages-{role} /opt/headrace /opt/headrace" in [rest for word, rest in every if word == "COPY"]


def test_no_base_and_no_tool_comes_without_a_version():
    text = DOCKERFILE.read_text()
    assert re.search(r"^ARG PYTHON=python:3\.\d+-slim-\w+$", text, re.MULTILINE)
    assert re.search(r"uv==\d+\.\d+\.\d+", text) and ":latest" not in text
