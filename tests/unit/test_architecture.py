"""The arrows between the folders, one door for each foreign library, and sizes that a reader can hold."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("topology", "producers", "encoder_worker", "head_worker", "infra", "benchmarks")
FILES = sorted([ROOT / "headrace.py", *(place for folder in FOLDERS for place in (ROOT / folder).rglob("*.py"))])
ALLOWED = {
    "topology": {"topology"},
    "producers": {"topology", "producers"},
    "encoder_worker": {"topology", "encoder_worker"},
    "head_worker": {"topology", "head_worker"},
    "infra": {"topology", "producers", "encoder_worker", "head_worker", "infra"},
    "benchmarks": set(FOLDERS),
    "headrace.py": {"producers"},
}
DOORS = {
    "redis": {
        "topology/stream/replies.py", "topology/stream/embedding_cache.py", "topology/stream/redis_state.py",
        "topology/stream/security.py", "topology/stream/sign_on.py",
    },
    "aiokafka": {
        "topology/stream/kafka.py", "topology/stream/producer.py", "topology/stream/connection.py",
        "topology/stream/codes.py", "topology/stream/fetched.py", "topology/stream/admin.py",
        "topology/stream/groups.py", "topology/stream/recent.py", "topology/stream/security.py",
        "topology/stream/sign_on.py",
    },
    "py3langid": {"producers/language.py"},
}
MAX_LINES, MAX_FUNCTION_LINES = 300, 40


def imported(place):
    for node in ast.walk(ast.parse(place.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def module_of(place):
    return ".".join(place.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("place", FILES, ids=module_of)
def test_a_folder_imports_only_what_its_arrow_allows(place):
    ours = {name.split(".")[0] for name in imported(place)} & set(FOLDERS)
    assert ours <= ALLOWED[place.relative_to(ROOT).parts[0]]


@pytest.mark.parametrize("library", DOORS)
def test_a_foreign_library_has_one_door(library):
    users = {str(p.relative_to(ROOT)) for p in FILES if library in {n.split(".")[0] for n in imported(p)}}
    assert users == DOORS[library]


def test_the_contract_does_no_input_or_output_over_the_network():
    for place in (ROOT / "topology").glob("*.py"):
        assert not [name for name in imported(place) if name.startswith("topology.stream")], place


@pytest.mark.parametrize("place", FILES, ids=module_of)
def test_a_file_and_its_functions_stay_readable(place):
    text = place.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= MAX_FUNCTION_LINES, node.name


def test_no_module_imports_itself_by_a_detour():
    known = {module_of(place): set(imported(place)) for place in FILES}
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name in done or name not in known:
            return
        path.append(name)
        for other in known[name]:
            visit(other)
        path.pop()
        done.add(name)

    for name in known:
        visit(name)
