"""A backfill's Job for Kubernetes: what is in it, and that Kubernetes' own schema takes it."""

import pytest
import yaml

from infra.backfill.render import Pods, job_manifest, job_name
from topology.errors import Misconfigured

IMAGE = "example/headrace:1.0"
FORMS = {
    "plain": ("en-1a2b3c4d", 1, Pods(IMAGE)),
    "everything": ("en-1a2b3c4d", 16, Pods(
        IMAGE, "nlu", "headrace-config", "headrace-secrets", "500m", "1.5Gi", 1, "replays", 0, 0, 0, 1)),
    "an id of anything": ("März 🎉: '\"{}\\ $(HOME) #- x" * 9, 3, Pods("yes")),
}


@pytest.mark.parametrize("version", ["1.31", "1.37"])
@pytest.mark.parametrize("form", FORMS)
def test_kubernetes_takes_the_manifest(form, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    job = yaml.safe_load(job_manifest(*FORMS[form]))
    kubernetes_validate.validate(job, version, strict=True)


def test_each_pod_runs_its_share_and_a_misconfigured_one_fails_the_job():
    spec = yaml.safe_load(job_manifest("nightly", 4, Pods(IMAGE, gpus=1, priority_class="replays")))["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 4, 4)
    pod = spec["template"]["spec"]
    worker, = pod["containers"]
    assert [*worker["command"], *worker["args"]] == [
        "headrace", "backfill", "work", "nightly", "--worker", "$(JOB_COMPLETION_INDEX)", "--of", "4",
    ]
    assert worker["resources"]["limits"] == {"cpu": "1", "memory": "4Gi", "nvidia.com/gpu": 1}
    fail, ignore = spec["podFailurePolicy"]["rules"]
    assert (fail["action"], fail["onExitCodes"]["values"]) == ("FailJob", [2])
    assert ignore["onPodConditions"][0]["type"] == "DisruptionTarget"  # preempted for the live path: no failure
    assert pod["restartPolicy"] == "Never"  # the schema does not say so: a podFailurePolicy asks for it
    assert pod["priorityClassName"] == "replays" and pod["securityContext"]["runAsNonRoot"] is True
    mounts = {one["mountPath"]: one["name"] for one in worker["volumeMounts"]}
    assert mounts == {"/var/lib/headrace": "home", "/tmp": "tmp", "/var/lib/headrace/headrace.toml": "config"}
    assert worker["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"name": "HEADRACE_CONFIG", "value": "/var/lib/headrace/headrace.toml"} in worker["env"]


def test_an_id_stays_what_it_is_and_no_two_share_a_name():
    odd = FORMS["an id of anything"][0]
    job = yaml.safe_load(job_manifest(odd, 1, Pods(IMAGE)))
    assert job["metadata"]["annotations"]["headrace/backfill"] == odd
    assert job["spec"]["template"]["spec"]["containers"][0]["args"][2] == odd.replace("$", "$$")
    assert job_name("en-1a2b3c4d") == "backfill-en-1a2b3c4d"
    ids = ["a", "A", "a-", "a b", "a_b", "a-b", "ä", "ö", "x" * 60, "x" * 61, "-", "$"]
    names = {job_name(one) for one in ids}
    assert len(names) == len(ids) and max(map(len, names)) <= 52


@pytest.mark.parametrize("job_id,workers,fields,told", [
    ("x", 0, {}, "workers 0"), ("", 1, {}, "job ''"), ("--help", 1, {}, "job '--help'"), ("a\nb", 1, {}, "job"),
    ("x", 1, {"image": " "}, "image"), ("x", 1, {"image": "\ud83d"}, "image"),
    ("x", 1, {"namespace": "A B"}, "namespace 'A B'"), ("x", 1, {"config_map": ""}, "config map"),
    ("x", 1, {"memory": "4 GB"}, "memory '4 GB'"), ("x", 1, {"user": 0}, "user 0"), ("x", 1, {"gpus": -1}, "gpus -1"),
])
def test_what_kubernetes_would_refuse_is_named(job_id, workers, fields, told):
    with pytest.raises(Misconfigured, match=told):
        job_manifest(job_id, workers, Pods(**{"image": IMAGE, **fields}))
