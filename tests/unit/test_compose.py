"""compose.yaml and what it mounts: every name in one file is there in the others."""

import json
import re
from pathlib import Path

import pytest
import yaml

from infra.cli.main import make_parser
from infra.stack import kafka
from tests.unit.test_metrics_documented import served
from topology.settings import parse

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "infra" / "docker"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name for name, one in SERVICES.items() if "build" in one}
SETTINGS = parse((DOCKER / "headrace.toml").read_text())
BOARD = json.loads((DOCKER / "grafana" / "dashboards" / "headrace.json").read_text())
ALERTS = yaml.safe_load((DOCKER / "prometheus" / "alerts.yml").read_text())
PROMETHEUS = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
QUERIES = {
    **{f"{panel['title']} {one['refId']}": one["expr"]
       for panel in BOARD["panels"] for one in panel.get("targets", ())},
    **{rule["alert"]: rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]},
}


def test_services_volumes_stages_and_mounted_files_are_there():
    stages = re.findall(r"^FROM \S+ AS (\S+)$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    used = set()
    for name, service in SERVICES.items():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys()
        for source, *_ in (one.split(":") for one in service.get("volumes", ())):
            used |= {source} - {one for one in [source] if one.startswith(".")}
            assert not source.startswith(".") or (ROOT / source).exists(), source
        if name in OURS:
            assert (ROOT / service["build"]["dockerfile"]) == DOCKER / "Dockerfile"
            assert service["build"]["target"] in stages
            assert service["image"] == f"headrace-{service['build']['target']}"
        else:
            assert re.search(r":v?\d+\.\d+", service["image"]), "a version"
    assert used == COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_containers_may_write_to_their_volume_alone(name):
    service = SERVICES[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "state:/var/lib/headrace" in service["volumes"] and SETTINGS.state_dir == "/var/lib/headrace"


def test_nothing_is_reached_from_outside_of_the_machine_and_no_password_stands_in_a_file():
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    text = (ROOT / "compose.yaml").read_text()
    assert text.count("${REDIS_PASSWORD:?") == text.count("${GRAFANA_PASSWORD:?") == 1
    assert SETTINGS.redis.password
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_what_a_service_runs_is_a_command_of_its_image():
    commands = make_parser()
    for name in OURS - {"encoder", "head", "prepare", "tools"}:
        commands.parse_args(SERVICES[name]["command"])
    for line in SERVICES["prepare"]["command"][0].split(";"):
        commands.parse_args(line.split()[1:])
    ring, cell = SERVICES["head"]["command"][1::2]
    assert SERVICES["encoder"]["command"] == ["--ring", ring] and cell in SETTINGS.rings[ring].cells
    assert SETTINGS.rings[ring].encoder == SERVICES["prepare"]["command"][0].split()[-1]


def test_workers_find_kafka_and_redis_by_the_names_that_the_services_have():
    listeners = SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert f"PLAINTEXT://{SETTINGS.broker.bootstrap}" in listeners.split(",")
    assert SETTINGS.redis.url.split("//")[1].split(":")[0] in SERVICES
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{kafka.VERSION}", "the version that the tests run"


def test_prometheus_looks_where_the_pages_are():
    (scraped,) = (one for job in PROMETHEUS["scrape_configs"] for one in job["dns_sd_configs"])
    assert set(scraped["names"]) == {name for name in OURS if "healthcheck" in SERVICES[name]}
    dockerfile = (DOCKER / "Dockerfile").read_text()
    assert f"HEADRACE_METRICS_PORT={scraped['port']}" in dockerfile and f"EXPOSE {scraped['port']}" in dockerfile
    assert all(f":{scraped['port']}/readyz" in SERVICES[name]["healthcheck"]["test"][-1] for name in scraped["names"])
    sources = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    assert sources[0]["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((DOCKER / "grafana/provisioning/dashboards/headrace.yaml").read_text())["providers"]
    mounts = dict(one.split(":")[:2] for one in SERVICES["grafana"]["volumes"])
    assert mounts["./infra/docker/grafana/dashboards"] == provider["options"]["path"]


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_asks_for_metrics_that_a_page_has(name):
    has = {"up"} | {f"{one}{suffix}" for one, kind in served().items() for suffix in SUFFIXES[kind]}
    without_labels = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on) \([^)]*\)", "", QUERIES[name])
    asked = set(re.findall(r"\b(?:up|(?:headrace|kafka)_\w+)\b", without_labels))
    assert asked and asked <= has, asked - has


def test_a_dashboard_is_one_that_grafana_takes():
    assert {"uid", "title", "panels", "schemaVersion", "templating"} <= BOARD.keys() and "id" not in BOARD
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = [panel["gridPos"] for panel in BOARD["panels"]]
    cells = [(x, y) for one in places for x in range(one["x"], one["x"] + one["w"])
             for y in range(one["y"], one["y"] + one["h"])]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) == 23, "no panel lies on another"
    variables = {one["name"] for one in BOARD["templating"]["list"]}
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
