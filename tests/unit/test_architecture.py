"""The arrows between the folders, one door for each foreign library, imports in sight, one table of pacing, and sizes
that a reader can hold."""

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
        "topology/stream/redis.py", "topology/stream/redis_state.py", "topology/stream/security.py",
        "topology/stream/sign_on.py",
    },
    "aiokafka": {
        "topology/stream/kafka.py", "topology/stream/producer.py", "topology/stream/connection.py",
        "topology/stream/codes.py", "topology/stream/fetched.py", "topology/stream/admin.py",
        "topology/stream/groups.py", "topology/stream/newest.py", "topology/stream/recent.py",
        "topology/stream/security.py", "topology/stream/sign_on.py", "topology/stream/bounded.py",
        "topology/stream/topic_ids.py", "topology/stream/traffic.py", "topology/stream/leave.py",
        "topology/stream/zones.py", "topology/stream/replicas.py", "topology/stream/production.py",
        "topology/stream/positions.py",
        "topology/stream/answers.py",
        "infra/insights/driver.py",
    },
    "faust": {"infra/insights/driver.py", "infra/insights/table.py", "infra/insights/app.py"},
    "py3langid": {"producers/language.py"},
}
MAX_LINES, MAX_FUNCTION_LINES = 300, 40
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

COMMANDS = ("infra/cli/", "benchmarks/cli")  # a command imports what it needs when it runs: see infra/cli/__init__
PACED = ("topology/stream", "producers", "encoder_worker", "head_worker")
NOT_PACING = {
    "producers/request.py": {"MAX_DEADLINE_S"},  # a bound of what a request may say
    "encoder_worker/quantize.py": {"TIMED_S"},  # how long a speed is measured
}


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


def unexplained_imports(place):
    """Lines of imports inside functions that do not say why they are `here`. Optional packages are seen to be so."""
    text, tree = place.read_text().splitlines(), ast.parse(place.read_text())
    optional = {line for node in ast.walk(tree) if isinstance(node, ast.Try) and "ImportError" in ast.unparse(node)
                for line in range(node.lineno, node.end_lineno + 1)}
    lines = sorted({node.lineno for function in ast.walk(tree) if isinstance(function, FUNCTIONS)
                    for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)} - optional)
    explained = {line for line in lines if "here" in f"{text[line - 2]} {text[line - 1]}".lower().partition("#")[2]}
    for line in lines:  # one reason serves all imports of a block
        if line - 1 in explained:
            explained.add(line)
    return [line for line in lines if line not in explained]


@pytest.mark.parametrize("place", FILES, ids=module_of)
def test_an_import_stands_at_the_top_or_says_why_it_does_not(place):
    name = str(place.relative_to(ROOT))
    if not name.startswith(COMMANDS):
        assert unexplained_imports(place) == []


def assigned(place):
    """The names that a module gives to values at its top level."""
    for node in ast.parse(place.read_text()).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


@pytest.mark.parametrize("place", [p for p in FILES if str(p.relative_to(ROOT)).startswith(PACED)], ids=module_of)
def test_every_time_that_paces_traffic_stands_in_the_table_of_pacing(place):
    name = str(place.relative_to(ROOT))
    times = {one for one in assigned(place) if one.endswith(("_S", "_MS", "_US"))}
    assert times <= NOT_PACING.get(name, set())


@pytest.mark.parametrize("place", FILES, ids=module_of)
def test_a_file_and_its_functions_stay_readable(place):
    text = place.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS):
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
