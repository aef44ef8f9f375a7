"""Kubernetes manifests from headrace.toml: what is rendered for three zones, and that Kubernetes, KEDA, the Prometheus
operator and Strimzi take it.

HEADRACE_GOLDEN=write writes the golden files anew; read the difference before you commit it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from infra.kubernetes import pods, tree
from infra.kubernetes.fleet import Fleet
from infra.kubernetes.folder import LIST, write
from topology.pacing import PACING
from topology.topics import wanted

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "kubernetes"
EXAMPLE = Path(tree.__file__).with_name("example.toml")
FLEET = Fleet(EXAMPLE.read_text(), registry="registry.example.com/nlu", tag="1.0")
FILES = tree.files(FLEET, "1.0")
OURS = {"encoder", "head", "scaler", "lag", "insights", "backfill", "operator"}


OBJECTS = [(path, one) for path, text in FILES.items() if path.endswith(".yaml") and "kustomization" not in path
           for one in yaml.safe_load_all(text)]


def objects(*under):
    """(path, object) of every Kubernetes object that is rendered, below the folders given."""
    return [(path, one) for path, one in OBJECTS if path.startswith(under or ("",))]


def of_kind(kind, *under):
    return [one for _, one in objects(*under) if one["kind"] == kind]


def pod_specs():
    """(name, component, spec) of every pod that is started."""
    for _, one in objects():
        if one["kind"] in ("Deployment", "StatefulSet", "Job"):
            pod = one["spec"]["template"]
            yield one["metadata"]["name"], pod["metadata"]["labels"]["app.kubernetes.io/component"], pod["spec"]
        elif one["kind"] == "Pod":
            yield one["metadata"]["name"], one["metadata"]["labels"]["app.kubernetes.io/component"], one["spec"]


def test_what_is_rendered_is_what_was_reviewed():
    if os.environ.get("HEADRACE_GOLDEN") == "write":
        shutil.rmtree(GOLDEN, ignore_errors=True)
        write(GOLDEN, FILES)
        (GOLDEN / LIST).unlink()
    there = {str(p.relative_to(GOLDEN)): p.read_text() for p in GOLDEN.rglob("*") if p.is_file()}
    assert FILES.keys() == there.keys()
    for path, text in FILES.items():
        assert text == there[path], path


@pytest.mark.parametrize("version", ["1.33", "1.37"])
def test_kubernetes_takes_every_manifest(version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    checked = 0
    for _, one in objects():
        group = one["apiVersion"].partition("/")[0]
        if "." not in group or group.endswith("k8s.io"):
            kubernetes_validate.validate(one, version, strict=True)
            checked += 1
    assert checked > 40


@pytest.mark.parametrize("folder", ["base", "overlays/small", "overlays/production"])
def test_kustomize_builds_it(folder, tmp_path):
    if not shutil.which("kubectl"):
        pytest.skip("left out: kubectl is not on this machine")
    write(tmp_path / "k8s", FILES)
    done = subprocess.run(["kubectl", "kustomize", str(tmp_path / "k8s" / folder)], capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    config, = (one for one in built if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "headrace")
    assert config["data"]["headrace.toml"] == EXAMPLE.read_text()
    workers = {one["metadata"]["name"]: one["spec"] for one in built if one["kind"] in ("Deployment", "StatefulSet")}
    if folder == "overlays/production":
        assert "replicas" not in workers["encoder-en"]  # KEDA's
        for name in ("encoder-en", "head-en-a", "headrace-redis-nodes", "headrace-redis-proxy"):
            zones, nodes = workers[name]["template"]["spec"]["topologySpreadConstraints"]
            assert (zones["topologyKey"], zones["whenUnsatisfiable"]) == (pods.ZONE, "DoNotSchedule")
            assert nodes["whenUnsatisfiable"] == "ScheduleAnyway"
    if folder == "overlays/small":
        assert workers["encoder-en"]["replicas"] == 6 and workers["headrace-redis-nodes"]["replicas"] == 1
    if folder != "base":
        images = {c["image"] for spec in workers.values() for c in spec["template"]["spec"]["containers"]}
        assert {"registry.example.com/nlu/headrace-head:1.0", "redis:8.2"} <= images
        assert all(":" in image for image in images)  # no image without a tag
        assert {one["metadata"].get("namespace") for one in built} <= {"headrace", None}


def test_every_file_that_a_kustomization_names_is_there_and_every_patch_hits():
    for path, text in FILES.items():
        if not path.endswith("kustomization.yaml"):
            continue
        folder, named = Path(path).parent, yaml.safe_load(text)
        for one in [*named.get("resources", ()), *named.get("components", ()),
                    *(f for g in named.get("configMapGenerator", ()) for f in g["files"])]:
            place = os.path.normpath(folder / one)
            assert place in FILES or f"{place}/kustomization.yaml" in FILES, (path, one)
        for patch in named.get("patches", ()):
            if name := patch["target"].get("name"):
                hit, = (o for o in of_kind(patch["target"]["kind"], "base/") if o["metadata"]["name"] == name)
                assert "replicas" in hit["spec"]
    every = {path for path in FILES if path.startswith(("base/", "components/")) and path.endswith(".yaml")}
    listed = {os.path.normpath(Path(path).parent / one) for path in every if path.endswith("kustomization.yaml")
              for one in yaml.safe_load(FILES[path])["resources"]}
    assert every - listed == {path for path in every if path.endswith("kustomization.yaml")}  # none is forgotten


def dropped(given, kept, place=()):
    """Places in `given` that a typed model did not keep: it does not know them."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name not in kept:
                yield (*place, name)
            else:
                yield from dropped(value, kept[name], (*place, name))
    elif isinstance(given, list) and isinstance(kept, list):
        for one, other in zip(given, kept, strict=True):
            yield from dropped(one, other, place)


@pytest.mark.parametrize("kind,module", [
    ("ScaledObject", "keda.v1alpha1"), ("TriggerAuthentication", "keda.v1alpha1"),
    ("PodMonitor", "prometheus_operator.v1"), ("PrometheusRule", "prometheus_operator.v1"),
])
def test_keda_and_the_prometheus_operator_take_their_objects(kind, module):
    models = pytest.importorskip(f"cloudcoil.models.{module}")
    given = of_kind(kind)
    assert given
    for one in given:
        kept = getattr(models, kind).model_validate(one).model_dump(by_alias=True, exclude_none=True, mode="json")
        unknown = {place[-1] for place in dropped(one, kept)}
        # Python 3.11 has models of KEDA 2.16 at most; 2.20 and Kubernetes 1.33 have brought these two.
        assert unknown <= {"behavior", "tolerance"}, one["metadata"]["name"]
        if "behavior" in unknown:
            assert one["spec"]["fallback"]["behavior"] == "currentReplicas"


BAD_DAY = {  # series of half an hour → the alarm that they raise
    'headrace_lag_oldest_age_seconds{lane="live",group="g"}': ("9x30", "HeadraceLate"),
    "headrace_lag_up": ("0x30", "HeadraceLagUnknown"),
    'headrace_lag_stuck{group="g",partition="0"}': ("1x30", "HeadraceStuck"),
    'headrace_head_cell_heads{ring="en",cell="a",pod="x"}': ("950x30", "HeadraceCellFull"),
    'headrace_head_cell_heads_limit{ring="en",cell="a",pod="x"}': ("1000x30", "HeadraceCellFull"),
    'kafka_topic_partition_current_offset{topic="headrace.dead-letters"}': ("0+1x30", "HeadraceDeadLetters"),
    'headrace_encoder_lost_records_total{pod="x",ring="en"}': ("0+1x30", "HeadraceLost"),
    'headrace_head_refused_replies_total{pod="y",ring="en",cell="a"}': ("0+1x30", "HeadraceLost"),
    'headrace_head_lost_records_total{pod="y",ring="en",cell="a"}': ("0+1x30", "HeadraceLost"),
    'kube_deployment_status_replicas_ready{namespace="headrace",deployment="encoder-en"}': ("0x30", "HeadraceNoWorker"),
}


def test_each_alarm_is_raised_by_what_it_is_for_and_none_on_a_quiet_day(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("left out: promtool is not on this machine")
    rule, = of_kind("PrometheusRule")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    names = {one["alert"] for one in rule["spec"]["groups"][0]["rules"]}
    assert {alarm for _, alarm in BAD_DAY.values()} == names
    bad = [{"series": series, "values": values} for series, (values, _) in BAD_DAY.items()]
    quiet = [{"series": series, "values": "1x30" if "_up" in series or "ready" in series else "0x30"}
             for series in BAD_DAY]
    # promtool wants an alarm's labels too: so it is asked how many there are.
    asked = [{"interval": "1m", "input_series": series, "promql_expr_test": [
        {"expr": f'count(ALERTS{{alertstate="firing",alertname="{name}"}}) > bool 0', "eval_time": "20m",
         "exp_samples": samples} for name in names]} for series, samples in ((bad, [{"value": 1}]), (quiet, []))]
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": asked}))
    done = subprocess.run(["promtool", "test", "rules", "test.yaml"], capture_output=True, text=True, timeout=60,
                          cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_alarms_ask_for_metrics_that_there_are():
    page = (Path(tree.__file__).parents[2] / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
    rule, = of_kind("PrometheusRule")
    asked = set(re.findall(r"headrace_[a-z_]+", " ".join(one["expr"] for one in rule["spec"]["groups"][0]["rules"])))
    assert len(asked) > 8
    assert asked <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_every_pod_keeps_to_the_restricted_standard_and_says_what_it_needs():
    specs = list(pod_specs())
    assert len(specs) > 15
    for name, component, spec in specs:
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True and security["runAsUser"] >= 99, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False, name
        assert {next(iter(v.keys() - {"name"})) for v in spec["volumes"]} <= {
            "emptyDir", "configMap", "secret", "persistentVolumeClaim"}, name
        for container in spec["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False and own["readOnlyRootFilesystem"] is True, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name
            sizes = container["resources"]
            assert {"cpu", "memory"} <= sizes["requests"].keys() and "memory" in sizes["limits"], name
            mounted = {one["name"] for one in container["volumeMounts"]}
            assert mounted <= {one["name"] for one in spec["volumes"]}, name
        if component in OURS:
            assert security["runAsUser"] == 10_001, name
            assert spec["terminationGracePeriodSeconds"] >= PACING.stop_s + 3 * PACING.close_s, name


def test_workers_are_asked_at_their_pages_and_know_their_names_and_zones():
    for one in [*of_kind("Deployment"), *of_kind("StatefulSet")]:
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        if component not in OURS:
            continue
        container, = one["spec"]["template"]["spec"]["containers"]
        assert {p["name"]: p["containerPort"] for p in container["ports"]}["metrics"] == 9464
        paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
        env = {e["name"]: e.get("value", e.get("valueFrom")) for e in container["env"]}
        assert env["HEADRACE_CONFIG"] == "/etc/headrace/headrace.toml" and env["HEADRACE_METRICS_HOST"] == "0.0.0.0"
        assert env["HEADRACE_RACK"]["fieldRef"]["fieldPath"] == "metadata.labels['topology.kubernetes.io/zone']"
        # Names that are kept are for pods that keep theirs: two pods of a Deployment may overlap.
        assert ("HEADRACE_INSTANCE" in env) is (one["kind"] == "StatefulSet")
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert mounts["/etc/headrace/headrace.toml"]["subPath"] == "headrace.toml"
        writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
        assert writable == {"/var/lib/headrace", "/tmp"}


def test_a_ring_on_gpus_gets_them_and_one_on_cpus_does_not():
    by_name = {one["metadata"]["name"]: one["spec"] for one in of_kind("Deployment", "base/")}
    cpu, gpu = (by_name[name]["template"]["spec"] for name in ("encoder-en", "encoder-world"))
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert gpu["containers"][0]["image"] == "headrace-encoder-cuda" and gpu["nodeSelector"]
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in gpu["tolerations"]
    assert by_name["encoder-world"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert cpu["containers"][0]["image"] == "headrace-encoder" and "nodeSelector" not in cpu
    assert "cpu" not in cpu["containers"][0]["resources"]["limits"]  # throttling costs more than it saves


def test_each_live_tier_may_lose_one_pod_at_a_time():
    budgets = {one["metadata"]["name"]: one["spec"] for one in of_kind("PodDisruptionBudget")}
    for one in FLEET.workers("live"):
        assert budgets[one.name]["maxUnavailable"] == 1
        assert budgets[one.name]["selector"]["matchLabels"] == pods.labels(one.role, one.name)
    assert not any(name.endswith("-backfill") for name in budgets)  # nobody waits for those


def test_the_scalers_name_workloads_and_groups_that_there_are():
    targets = {(o["kind"], o["metadata"]["name"]) for o in [*of_kind("Deployment"), *of_kind("StatefulSet")]}
    for folder, trigger in (("components/keda/", "external-push"), ("components/keda-kafka/", "kafka"),
                            ("components/backfill-lane/", "kafka")):
        lane = "backfill" if "backfill" in folder else "live"
        workers = {one.name: one for one in FLEET.workers(lane)}
        scaled = of_kind("ScaledObject", folder)
        assert {one["metadata"]["name"] for one in scaled} == workers.keys()
        for one in scaled:
            spec, of = one["spec"], workers[one["metadata"]["name"]]
            assert (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) in targets
            assert spec["maxReplicaCount"] == of.most
            assert spec["minReplicaCount"] == (3 if lane == "live" else 0)  # one in each zone
            only, = spec["triggers"]
            assert (only["type"], only["metricType"]) == (trigger, "AverageValue")
            if trigger == "kafka":
                assert (only["metadata"]["consumerGroup"], only["metadata"]["topic"]) == (of.group, of.topic)
                assert spec["fallback"]["behavior"] == "currentReplicas"
            else:  # the metric of a scaler that cannot read is none: KEDA then changes nothing
                assert only["metadata"]["tier"] == of.tier and "fallback" not in spec


def test_strimzi_makes_every_topic_as_headrace_would():
    made = {one["spec"].get("topicName", one["metadata"]["name"]): one["spec"] for one in of_kind("KafkaTopic")}
    for spec in wanted(FLEET.settings):
        one = made.pop(spec.name)
        assert (one["partitions"], one["replicas"]) == (spec.partitions, 3)
        assert {name: str(value) for name, value in one["config"].items()} == {
            **spec.configs, "min.insync.replicas": "2", "unclean.leader.election.enable": "False"}
    assert not made
