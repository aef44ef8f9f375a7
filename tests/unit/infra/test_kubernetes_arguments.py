"""What containers are started with is what their programs take, whatever rings and cells are called."""

import re

import pytest
import yaml

import encoder_worker.__main__
import head_worker.__main__
from infra.cli.main import make_parser
from infra.kubernetes import tree
from infra.kubernetes.fleet import Fleet
from infra.stack import up
from tests.unit.infra.test_kubernetes import EXAMPLE

WORKERS = {"encoder": encoder_worker.__main__.make_parser(), "head": head_worker.__main__.make_parser()}
ODD = re.sub(r"rings\.en\b", "rings.-en_gb-", EXAMPLE.read_text()).replace("cells.a]", "cells.-]")


def started(fleet):
    """(path, component, arguments) of every container of ours, read by its program."""
    for path, text in tree.files(fleet, "1.0").items():
        for one in yaml.safe_load_all(text) if path.endswith(".yaml") and "kustomization" not in path else ():
            spec = one.get("spec", {})
            for container in spec.get("template", {}).get("spec", {}).get("containers", ()):
                role = re.fullmatch(r"(?:.*/)?headrace-(\w+?)(?:-cuda)?(?::.*)?", container["image"])
                if role:
                    program = WORKERS.get(role[1]) or make_parser()
                    yield path, role[1], program.parse_args(
                        [one.replace("$(JOB_COMPLETION_INDEX)", "0") for one in container["args"]])


@pytest.mark.parametrize("toml", [EXAMPLE.read_text(), ODD], ids=["example", "odd names"])
def test_every_container_is_started_with_what_its_program_takes(toml):
    fleet = Fleet(toml, registry="registry.example.com/nlu", tag="1.0")
    found = list(started(fleet))
    assert {role for _, role, _ in found} == {"encoder", "head", "tools"}
    assert {path.partition("/")[0] for path, _, _ in found} == {"base", "components", "jobs"}
    workers = {(args.ring, getattr(args, "cell", ""), args.lane) for _, role, args in found if role != "tools"}
    assert workers == {(one.ring, one.cell, one.lane) for lane in ("live", "backfill") for one in fleet.workers(lane)}


def test_up_starts_workers_of_rings_and_cells_with_odd_names():
    fleet = Fleet(ODD)
    read = [WORKERS[what[0].partition("_")[0]].parse_args(what[1:]) for _, what, _ in up.tiers(fleet.settings)]
    assert {args.ring for args in read} == fleet.settings.rings.keys()


def test_topics_are_there_before_workers_where_kafka_is_not_rendered():
    foreign = EXAMPLE.read_text().replace("headrace-kafka-bootstrap:9093", "kafka.example.com:9094")
    page = tree.files(Fleet(foreign), "1.0")["README.md"]
    apply, _, roll = page.partition("## Apply")[2].partition("## Roll")
    for part, workers in ((apply, "kubectl apply -k overlays/production\n"), (roll, "component=head")):
        assert 0 < part.index("jobs/topics.yaml") < part.index("kubectl wait job/headrace-topics") < part.index(workers)
