"""Every file that is rendered: a base, components, overlays that choose among them, and what a person runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.kubernetes import jobs, kafka, monitoring, network, readme, redis, rights, scaling, tools, workers
from infra.kubernetes.fleet import Fleet, Workload, user_name
from infra.kubernetes.text import document

Files = dict[str, str]
Objects = Sequence[Mapping[str, Any]]
IMAGES = {redis.IMAGE: "8.2", redis.PROXY_IMAGE: "3.2"}  # of others, with their tags


def files(fleet: Fleet, version: str) -> Files:
    """Path → text of every file. `version`: of Headrace, said in each."""
    head = f"# Rendered by `headrace render kubernetes` {version} from headrace.toml.\n"
    found = {**_base(fleet), **_components(fleet), **_overlays(fleet), **_jobs(fleet)}
    return {"README.md": readme.text(fleet, version),
            **{path: head + text if path.endswith(".yaml") else text for path, text in found.items()}}


def _base(fleet: Fleet) -> Files:
    parts: dict[str, tuple[Objects, str]] = {
        "namespace": ([_namespace(fleet)], "Pods here keep to the restricted Pod Security Standard, or are refused."),
        "shared": (workers.shared(fleet), "What all workers share."),
        "network": (network.policies(fleet), "Nothing passes, then what each role needs."),
        "lag": (tools.lag(fleet), "Lag, ages and rates of every group, for Prometheus."),
    }
    parts |= {one.name: (workers.manifests(fleet, one), _about(one)) for one in fleet.workers("live")}
    parts |= {name: (some, "Counts a ring's predictions, off the delivery path.")
              for name, some in tools.insights(fleet)}
    found = _folder("base", parts, {
        "configMapGenerator": [{"name": "headrace", "files": ["headrace.toml"]}],
        "generatorOptions": {"disableNameSuffixHash": True},  # jobs name it too; pods carry its digest
    })
    return {"base/headrace.toml": fleet.toml, **found}


def _components(fleet: Fleet) -> Files:
    live, backfill = list(fleet.workers("live")), list(fleet.workers("backfill"))
    found = {
        **_component("keda", {
            "scaler": (tools.scaler(fleet), "Tells KEDA how many workers each tier wants."),
            "scaled-objects": ([scaling.by_scaler(fleet, one) for one in live], "Counts by Headrace's scaler."),
        }, patches=_uncounted(live)),
        **_component("keda-kafka", {"scaled-objects": (
            [scaling.by_lag(fleet, one) for one in live],
            "The fallback, in place of `keda`: counts by KEDA's own Kafka scaler."),
        }, patches=_uncounted(live)),
        **_component("backfill-lane", {
            **{one.name: (_idle(workers.manifests(fleet, one)), _about(one)) for one in backfill},
            "scaled-objects": ([scaling.by_lag(fleet, one) for one in backfill], "None while nothing waits."),
        }),
        **_component("monitoring", {
            "pod-monitors": (monitoring.monitors(fleet), "For the Prometheus operator."),
            "alarms": ([monitoring.alarms(fleet)], "What to alarm at."),
        }),
    }
    return {**found, **(_kafka(fleet) if fleet.has_kafka else {}), **(_redis(fleet) if fleet.has_redis else {})}


def _kafka(fleet: Fleet) -> Files:
    keda = [kafka.user(user_name("keda"), rights.keda(fleet.settings)), scaling.sign_on()]
    return {
        **(_component("kafka", {"kafka": (kafka.cluster(fleet, 3), "Three zones, for Strimzi 1.2.")})
           if fleet.survives_a_zone else {}),
        **_component("kafka-one-zone", {"kafka": (kafka.cluster(fleet, 1), "One zone, for Strimzi 1.2.")}),
        **_component("kafka-topics", {
            "topics": (kafka.topics(fleet), "What `headrace topics apply` would create."),
            "users": (kafka.role_users(fleet), "Each signs on by the certificate in the Secret of its name."),
        }),
        **_component("keda-user", {"user": (keda, "How KEDA's Kafka scaler signs on.")}),
    }


def _redis(fleet: Fleet) -> Files:
    scripts = redis.scripts(fleet)
    return {
        **{f"components/redis/{name}": text for name, text in scripts.items()},
        **_component("redis", {
            "servers": (redis.servers(fleet), "Redis and its Sentinels. The Secret headrace-redis has the password."),
            "proxy": (redis.proxy(), "The address that clients know: it passes them to the master."),
            "network": (network.of_redis(), "Who reaches them."),
        }, configMapGenerator=[{"name": redis.NODES, "files": list(scripts)}]),
        **_component("redis-one", {
            "server": (redis.single(fleet), "One Redis. The Secret headrace-redis has the password."),
            "network": (network.of_one_redis(), "Who reaches it."),
        }),
    }


def _overlays(fleet: Fleet) -> Files:
    if_kafka, if_redis = (["kafka-topics"] if fleet.has_kafka else []), fleet.has_redis
    small = [*(["kafka-one-zone"] if fleet.has_kafka else []), *if_kafka, *(["redis-one"] if if_redis else [])]
    large = [*(["kafka", "keda-user"] if fleet.has_kafka else []), *if_kafka, *(["redis"] if if_redis else []),
             "keda", "backfill-lane", "monitoring"]
    in_zones = [{
        "target": {"kind": "(Deployment|StatefulSet)",
                   "labelSelector": "app.kubernetes.io/component in (encoder,head,redis,redis-proxy)"},
        "patch": "- {op: replace, path: /spec/template/spec/topologySpreadConstraints/0/whenUnsatisfiable, "
                 "value: DoNotSchedule}",
    }]
    found = {"small": _overlay(fleet, small, "One zone, counts as in headrace.toml.", {})}
    if fleet.survives_a_zone:
        header = "Three zones; KEDA scales. For its fallback write keda-kafka in place of keda."
        found["production"] = _overlay(fleet, large, header, {"patches": in_zones})
    return {f"overlays/{name}/kustomization.yaml": text for name, text in found.items()}


def _overlay(fleet: Fleet, components: Sequence[str], header: str, more: Mapping[str, Any]) -> str:
    before = f"{fleet.registry.rstrip('/')}/" if fleet.registry else ""
    names = ("headrace-encoder", "headrace-encoder-cuda", "headrace-head", "headrace-tools")
    images = [{"name": name, "newName": f"{before}{name}", "newTag": fleet.tag} for name in names]
    images += [{"name": name, "newName": name, "newTag": tag} for name, tag in IMAGES.items()]
    return document([{
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": fleet.namespace,
        "resources": ["../../base"], "components": [f"../../components/{name}" for name in components],
        "images": images, **more,
    }], header)


def _jobs(fleet: Fleet) -> Files:
    return {
        "jobs/operator.yaml": document([jobs.operator(fleet)], "A pod to run `headrace` in, by kubectl exec."),
        "jobs/topics.yaml": document([jobs.topics(fleet)], "For a Kafka that is not rendered here."),
        "jobs/backfill.yaml": f"# The job {jobs.EXAMPLE!r}: README.md says how it is made.\n{jobs.backfill(fleet)}",
    }


def _component(name: str, parts: Mapping[str, tuple[Objects, str]], **more: Any) -> Files:
    return _folder(f"components/{name}", parts, more, "v1alpha1", "Component")


def _folder(
    place: str, parts: Mapping[str, tuple[Objects, str]], more: Mapping[str, Any], version: str = "v1beta1",
    kind: str = "Kustomization",
) -> Files:
    """A file for each part, and the kustomization that names them."""
    listed = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind,
              "resources": [f"{name}.yaml" for name in parts], **{name: what for name, what in more.items() if what}}
    found = {f"{place}/{name}.yaml": document(some, header) for name, (some, header) in parts.items()}
    return {f"{place}/kustomization.yaml": document([listed], ""), **found}


def _uncounted(scaled: Sequence[Workload]) -> list[dict[str, Any]]:
    """KEDA counts the workers: a count in the manifest would be set anew at each apply."""
    return [{
        "target": {"kind": "Deployment" if one.role == "encoder" else "StatefulSet", "name": one.name},
        "patch": "- {op: remove, path: /spec/replicas}",
    } for one in scaled]


def _idle(manifests: Objects) -> list[dict[str, Any]]:
    return [{**one, "spec": {name: what for name, what in one["spec"].items() if name != "replicas"}}
            for one in manifests]


def _about(one: Workload) -> str:
    where = f"ring {one.ring}" + (f", cell {one.cell}" if one.cell else "")
    lane = "" if one.lane == "live" else ", of the backfill lane"
    return f"{one.role.capitalize()} workers of {where}{lane}: {one.group} reads {one.topic}."


def _namespace(fleet: Fleet) -> dict[str, Any]:
    level = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "audit", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": fleet.namespace, "labels": {"app.kubernetes.io/name": "headrace", **level}}}


