"""A backfill as a Job of Kubernetes: one pod a worker, each started again until its share is done."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from infra.kubernetes.text import document
from topology.errors import Misconfigured
from topology.stream.process import EXIT_MISCONFIGURED

HOME = "/var/lib/headrace"  # writable; `state_dir` of headrace.toml may be relative to it
MODELS = "/models"
NAME_CHARS = 40  # of an id in a Job's name: a pod's host name is that name and its index, within 63 characters
DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
QUANTITY = re.compile(r"[0-9]{1,9}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


@dataclass(frozen=True)
class Pods:
    """What the pods of a job are. `config_map`: has headrace.toml under that key. `secret`: its entries become
    environment variables, which `env:` references of headrace.toml name. `priority_class`: one below that of the live
    workers, so that these go first where room is short. `retries`: pods that may fail (a broker that is away ends them
    with 75) before the job does. `config`: where headrace.toml appears. `secrets`: (folder, Secret that appears
    there as files). `models`: a claim of prepared encoders, which appears at /models. `account`: the service account.
    `state`: the folder that a pod may write to. `command`: where the image is ours, behind its tini."""

    image: str
    namespace: str = "default"
    config_map: str = "headrace"
    secret: str = ""
    cpu: str = "1"
    memory: str = "4Gi"
    gpus: int = 0
    priority_class: str = ""
    retries: int = 100
    grace_s: int = 30
    kept_s: int = 7 * 86_400
    user: int = 10_001
    config: str = f"{HOME}/headrace.toml"
    secrets: tuple[tuple[str, str], ...] = ()
    models: str = ""
    account: str = ""
    state: str = HOME
    command: tuple[str, ...] = ("headrace",)


def job_manifest(job_id: str, workers: int, pods: Pods) -> str:
    """The manifest of the Job that runs a backfill, as YAML for `kubectl apply`.

    Each pod runs `headrace backfill work JOB --worker INDEX --of WORKERS`. Exit status 2 fails the job at once, since a
    person must act; a pod that was evicted or preempted counts as no failure.
    Raises: Misconfigured, naming what is wrong.
    """
    _check(job_id, workers, pods)
    labels = {"app.kubernetes.io/name": "headrace", "app.kubernetes.io/component": "backfill"}
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(job_id), "namespace": pods.namespace, "labels": labels,
            "annotations": {"headrace/backfill": job_id},
        },
        "spec": {
            "completionMode": "Indexed", "completions": workers, "parallelism": workers, "backoffLimit": pods.retries,
            "ttlSecondsAfterFinished": pods.kept_s,
            "podFailurePolicy": {"rules": [
                {"action": "FailJob", "onExitCodes": {
                    "containerName": "worker", "operator": "In", "values": [EXIT_MISCONFIGURED]}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]},
            "template": {"metadata": {"labels": labels}, "spec": _pod(job_id, workers, pods)},
        },
    }
    return document([manifest], f"headrace backfill {json.dumps(job_id)}: kubectl apply -f THIS_FILE")


def job_name(job_id: str) -> str:
    """The Job's name in Kubernetes: the id as far as it is lowercase letters, digits and dashes, and short; else with a
    digest, so that no two ids share one."""
    name = re.sub(r"[^a-z0-9]+", "-", job_id.lower()).strip("-")[:NAME_CHARS].strip("-")
    if name != job_id:
        digest = hashlib.blake2b(job_id.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
        name = f"{name[:NAME_CHARS - 9].strip('-')}-{digest}".strip("-")
    return f"backfill-{name}"


def _pod(job_id: str, workers: int, pods: Pods) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",  # the job starts failed pods anew; with OnFailure it may have no podFailurePolicy
        **({"priorityClassName": pods.priority_class} if pods.priority_class else {}),
        "terminationGracePeriodSeconds": pods.grace_s,
        **({"serviceAccountName": pods.account} if pods.account else {}),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else a service named headrace-… sets variables that begin as ours do
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": pods.user, "runAsGroup": pods.user, "fsGroup": pods.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(job_id, workers, pods)],
        "volumes": [
            {"name": "home", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "config", "configMap": {"name": pods.config_map}},
            *({"name": PurePosixPath(folder).name, "secret": {"secretName": secret, "defaultMode": 0o440}}
              for folder, secret in pods.secrets),
            *([{"name": "models", "persistentVolumeClaim": {"claimName": pods.models, "readOnly": True}}]
              if pods.models else []),
        ],
    }


def _container(job_id: str, workers: int, pods: Pods) -> dict[str, Any]:
    size: dict[str, Any] = {"cpu": pods.cpu, "memory": pods.memory}
    gpus = {"nvidia.com/gpu": pods.gpus} if pods.gpus else {}
    mine = job_id.replace("$", "$$")  # $(NAME) in an argument is a variable
    return {
        "name": "worker",
        "image": pods.image,
        "command": list(pods.command),
        "args": ["backfill", "work", mine, "--worker", "$(JOB_COMPLETION_INDEX)", "--of", str(workers)],
        "env": [{"name": "HEADRACE_CONFIG", "value": pods.config}, {"name": "HOME", "value": pods.state},
                *([{"name": "HEADRACE_CACHE", "value": MODELS}] if pods.models else [])],
        **({"envFrom": [{"secretRef": {"name": pods.secret}}]} if pods.secret else {}),
        "resources": {"requests": size, "limits": {**size, **gpus}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "home", "mountPath": pods.state},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "config", "mountPath": pods.config, "subPath": "headrace.toml", "readOnly": True},
            *({"name": PurePosixPath(folder).name, "mountPath": folder, "readOnly": True}
              for folder, _ in pods.secrets),
            *([{"name": "models", "mountPath": MODELS, "readOnly": True}] if pods.models else []),
        ],
    }


def _check(job_id: str, workers: int, pods: Pods) -> None:
    names = {"namespace": pods.namespace, "config map": pods.config_map, "secret": pods.secret,
             "priority class": pods.priority_class}
    wrong = [f"{what} {name!r}: lowercase letters, digits, '-' and '.' are wanted" for what, name in names.items()
             if not (DNS_NAME.fullmatch(name) or (not name and what in ("secret", "priority class")))]
    wrong += [f"{what} {size!r}: a quantity such as 500m, 2 or 4Gi is wanted"
              for what, size in (("cpu", pods.cpu), ("memory", pods.memory)) if not QUANTITY.fullmatch(size)]
    least = {"workers": (workers, 1), "gpus": (pods.gpus, 0), "retries": (pods.retries, 0), "user": (pods.user, 1),
             "grace": (pods.grace_s, 0), "kept": (pods.kept_s, 0)}
    wrong += [f"{what} {count}: at least {few} is wanted" for what, (count, few) in least.items() if count < few]
    if not pods.image.strip() or not pods.image.isprintable():
        wrong.append("image: a name is wanted, such as registry/headrace:1.0")
    if job_id.startswith("-") or not job_id.isprintable() or not job_id:
        wrong.append(f"job {job_id!r}: an id is wanted")
    if wrong:
        raise Misconfigured("; ".join(wrong))
