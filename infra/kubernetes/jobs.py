"""What a person runs: a pod with the `headrace` command, the creation of topics, a backfill."""

from __future__ import annotations

from typing import Any

from infra.backfill.render import Pods, job_manifest
from infra.kubernetes import pods, sizes
from infra.kubernetes.fleet import HOME, Fleet, user_name
from infra.kubernetes.tools import IMAGE
from infra.kubernetes.workers import PRIORITY

EXAMPLE = "example"  # the id in the backfill's manifest, to be replaced
WORKERS = 3
DAY_S = 86_400


def image(fleet: Fleet, name: str) -> str:
    """A whole name: these files are applied as they are, without Kustomize."""
    return f"{fleet.registry.rstrip('/')}/{name}:{fleet.tag}" if fleet.registry else f"{name}:{fleet.tag}"


def operator(fleet: Fleet) -> dict[str, Any]:
    """A pod that waits for a day for `kubectl exec`."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": _metadata(fleet, "headrace-operator"),
        "spec": {"restartPolicy": "Never", "activeDeadlineSeconds": DAY_S,
                 **_pod(fleet, [], command=["tini", "--", "sleep", str(DAY_S)])},
    }


def topics(fleet: Fleet) -> dict[str, Any]:
    """`headrace topics apply`, for a Kafka that is not rendered here: Strimzi makes the topics of one that is."""
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": _metadata(fleet, "headrace-topics"),
        "spec": {"backoffLimit": 6, "ttlSecondsAfterFinished": DAY_S, "template": {
            "metadata": {"labels": pods.labels("operator", "headrace-topics")},
            "spec": {"restartPolicy": "Never", **_pod(fleet, ["topics", "apply"])}}},
    }


def backfill(fleet: Fleet) -> str:
    """The Job of a backfill, as `headrace backfill render` prints it, made for these pods."""
    folders = pods.secrets(fleet, user_name("backfill"))
    return job_manifest(EXAMPLE, WORKERS, Pods(
        image(fleet, IMAGE), namespace=fleet.namespace, secret="", priority_class=PRIORITY["backfill"],
        grace_s=pods.GRACE_S, user=pods.USER, config=f"{HOME}/headrace.toml", state=fleet.settings.state_dir,
        secrets=tuple((f"{HOME}/{folder}", secret) for folder, secret in folders.items()),
        models="headrace-models", account="headrace", command=("tini", "--", "headrace"),
    ))


def _metadata(fleet: Fleet, name: str) -> dict[str, Any]:
    return {**pods.metadata("operator", name), "namespace": fleet.namespace}


def _pod(fleet: Fleet, args: list[str], **more: Any) -> dict[str, Any]:
    container = pods.container(fleet, "operator", image(fleet, IMAGE), args, sizes.small())
    plain = {name: what for name, what in container.items() if what and "Probe" not in name and name != "ports"} | more
    return pods.pod(fleet, user_name("operator"), plain, "1Gi")
