"""The pod that all of ours are: what it may do, what it sees, how it is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from infra.kubernetes.check import CACHE, files_of, variables_of
from infra.kubernetes.fleet import CLUSTER, HOME, Fleet
from topology.pacing import PACING

USER = 10_001  # of the images
METRICS_PORT = 9464
# From SIGTERM: what was begun is finished, then clients are closed; 5 s more before SIGKILL.
GRACE_S = math.ceil(PACING.stop_s + 3 * PACING.close_s) + 5
CONFIG_DIGEST = "headrace/config-sha256"
OURS = {"matchLabels": {"app.kubernetes.io/name": "headrace"}}
# The components of pods that need each: their sign-on, and the way to it.
NEEDS = {
    "kafka": ["encoder", "head", "scaler", "lag", "insights", "backfill", "operator"],
    "redis": ["encoder", "head", "operator"],
    "store": ["head", "insights", "backfill", "operator"],  # the object store that heads.store names
}
# In which workloads take a new release: who reads goes before who writes (docs/UPGRADES.md).
ROLL_ORDER = ["head", "encoder", "insights", "scaler", "lag"]
ZONE = "topology.kubernetes.io/zone"


def labels(component: str, name: str) -> dict[str, str]:
    """Of an object, and what selects its pods."""
    return {"app.kubernetes.io/name": "headrace", "app.kubernetes.io/component": component,
            "app.kubernetes.io/instance": name}


def ours(*components: str) -> dict[str, Any]:
    """Pods of these components, as a peer of a NetworkPolicy."""
    return {"podSelector": {**OURS, "matchExpressions": [
        {"key": "app.kubernetes.io/component", "operator": "In", "values": list(components)}]}}


def metadata(component: str, name: str, **more: Any) -> dict[str, Any]:
    """Of an object."""
    return {"name": name, "labels": labels(component, name), **more}


def roll_order(component: str) -> dict[str, str]:
    """Its place in a rollout, as an annotation."""
    return {"headrace/roll-order": str(ROLL_ORDER.index(component) + 1)}


def template(fleet: Fleet, component: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Of a Deployment or StatefulSet; its pods are started anew when headrace.toml changes."""
    return {"metadata": {"labels": labels(component, name), "annotations": {CONFIG_DIGEST: fleet.digest}}, "spec": spec}


def pod(fleet: Fleet, user: str, container: dict[str, Any], state: str, models: bool = False) -> dict[str, Any]:
    """The spec of a pod with one container. `user`: its KafkaUser. `state`: how much it may write. `models`: it reads
    prepared encoders."""
    mounts = [("state", fleet.settings.state_dir, {}), ("tmp", "/tmp", {}),
              ("config", f"{HOME}/headrace.toml", {"subPath": "headrace.toml"})]
    volumes: list[dict[str, Any]] = [
        {"name": "state", "emptyDir": {"sizeLimit": state}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        {"name": "config", "configMap": {"name": "headrace"}},
    ]
    for folder, secret in secrets(fleet, user).items():
        mounts.append((folder, f"{HOME}/{folder}", {}))
        volumes.append({"name": folder, "secret": {"secretName": secret, "defaultMode": 0o440}})
    if models:
        container["env"].append({"name": "HEADRACE_CACHE", "value": CACHE})
        mounts.append(("models", CACHE, {}))
        volumes.append({"name": "models", "persistentVolumeClaim": {"claimName": "headrace-models", "readOnly": True}})
    written = ("state", "tmp")
    return {
        "serviceAccountName": "headrace",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else a service named headrace-… sets variables that begin as ours do
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": POD_SECURITY,
        "containers": [{
            **container,
            "volumeMounts": [
                {"name": name, "mountPath": path, **more, **({} if name in written else {"readOnly": True})}
                for name, path, more in mounts
            ],
        }],
        "volumes": volumes,
    }


# A pod is given up on a node that is away for so long. Kubernetes' own 300 s are long for callers who wait.
LEAVE = [{"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
         for why in ("not-ready", "unreachable")]
POD_SECURITY = {
    "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}


def container(
    fleet: Fleet, name: str, image: str, args: Sequence[str], resources: dict[str, Any], named: bool = False
) -> dict[str, Any]:
    """A container of ours with its page at `metrics`. `args`: to what its image starts, which hands signals on.
    `named`: it keeps its pod's name in its consumer group."""
    return {
        "name": name,
        "image": image,  # kustomization.yaml says which and from where
        "args": list(args),
        "env": environment(fleet, named),
        **(STORE if name in NEEDS["store"] else {}),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        **probes(),
        "resources": resources,
        "securityContext": CONTAINER_SECURITY,
    }


STORE = {"envFrom": [{"secretRef": {"name": "headrace-store", "optional": True}}]}  # its credentials


def environment(fleet: Fleet, named: bool) -> list[dict[str, Any]]:
    """What a process is told. The zone is a label that Kubernetes copies from the node to the pod (1.35; 1.33 and 1.34
    behind a gate); without it the variable is empty, and so is the rack."""
    home = fleet.settings.state_dir
    given = {
        "HEADRACE_CONFIG": f"{HOME}/headrace.toml", "HOME": home,
        "HEADRACE_METRICS_HOST": "0.0.0.0", "HEADRACE_METRICS_PORT": str(METRICS_PORT),
    }
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in given.items()]
    found.append({"name": "HEADRACE_RACK", "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{ZONE}']"}}})
    if named:
        found.append({"name": "HEADRACE_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    for name in variables_of(fleet):
        found.append({"name": name, "valueFrom": {"secretKeyRef": {"name": "headrace-env", "key": name}}})
    return found


def probes() -> dict[str, Any]:
    """Started: the page answers. Live: the event loop turns. Ready: all is read, and partitions are assigned."""
    def asks(path: str, every_s: int, failures: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "metrics"}, "periodSeconds": every_s, "timeoutSeconds": 3,
                "failureThreshold": failures}

    return {
        "startupProbe": asks("/livez", 2, 90), "livenessProbe": asks("/livez", 10, 3),
        "readinessProbe": asks("/readyz", 5, 2),
    }


def secrets(fleet: Fleet, user: str) -> dict[str, str]:
    """Folder below /etc/headrace → the Secret that it shows. Strimzi makes those of the Kafka that is rendered."""
    folders = sorted({PurePosixPath(path).parent.name for path in files_of(fleet).values()})
    strimzi = {"kafka": user, "kafka-ca": f"{CLUSTER}-cluster-ca-cert"} if fleet.has_kafka else {}
    return {folder: strimzi.get(folder, f"headrace-{folder}") for folder in folders}


def spread(component: str, name: str, revision: str) -> list[dict[str, Any]]:
    """Even over zones, then over nodes, as far as there is room; `overlays/production` insists on zones. Pods of a
    former `revision` do not count, nor do zones whose nodes are all away."""
    return [
        {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway", "nodeTaintsPolicy": "Honor",
         "labelSelector": {"matchLabels": labels(component, name)}, "matchLabelKeys": [revision]}
        for key in (ZONE, "kubernetes.io/hostname")
    ]


def disruption_budget(component: str, name: str) -> dict[str, Any]:
    """One pod at a time is moved; one that is not ready keeps nobody from draining its node."""
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata(component, name),
        "spec": {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow",
                 "selector": {"matchLabels": labels(component, name)}},
    }
