"""`headrace backfill ...`: replays over topics and files."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.backfill.arguments import SHARE, add_arguments
from infra.cli import compare
from infra.cli.command import add_command, add_group
from infra.cli.running import running
from infra.cli.train import ring_of
from infra.cli.values import file_to_write, number, whole
from topology.addresses import load_running
from topology.errors import Misconfigured
from topology.settings import Settings, settings_path

RUN = """\
score what was said before with the heads of now. The bounds are looked up once and stored under the job's id; the
same command goes on after any crash or Ctrl-C. Exit status: 0 done, 1 not all of it (cancelled, or records were lost to
retention), 2 misconfigured, 130 stopped."""
RENDER = """\
print a Kubernetes Job that runs a backfill, a pod a worker. The job is made now, with the bounds of now; applying the
manifest again goes on with it."""
EXAMPLE = """
headrace backfill run --from 7d                                  (all tenants, to the backfill lane's predictions)
headrace backfill run --source embeddings --tenant acme --head acme=20261126-v2 --target out/
headrace backfill run --source 'calls-*.jsonl' --tenant-of-files acme --target s3://bucket/calls
headrace backfill run job.toml"""
WHEN = "earliest, latest, a time (2026-11-01T06:00Z), an age (2h, 7d), or offsets by partition (0:1200,1:900)"


def add_commands(commands: Any) -> None:
    """Put `backfill` among `commands`."""
    group = add_group(commands, "backfill", "replay topics and files through the heads of now", EXAMPLE)
    run = add_command(group, "run", _run, RUN, EXAMPLE)
    _add_asked(run)
    run.add_argument("--id", default="", help="the job's id (default: made of what is asked for)")
    run.add_argument("--workers", type=whole(0), default=0, help="processes (default: one a core; on a GPU one)")
    run.add_argument("--max-per-s", type=number(), default=0.0, help="records a second at most, of all workers")
    run.add_argument("--share", type=number(0, 1, above=True), default=1.0, help=SHARE)
    run.add_argument("--ignore-live", action="store_true", help="do not pause while live traffic is late")
    run.add_argument("--report", type=file_to_write, help="write the report here as JSON")
    _add_render(group)
    compare.add_commands(group)
    listed = add_command(group, "list", _list, "every job, and how far it is")
    listed.add_argument("--json", action="store_true", help="one JSON object a line")
    for name, function, text in (
        ("show", _show, "one job: its report so far, and its workers"),
        ("pause", _wish, "its workers finish what they compute, and wait"),
        ("resume", _wish, "go on after pause or cancel"),
        ("cancel", _wish, "its workers finish what they compute, and end"),
    ):
        command = add_command(group, name, function, text)
        command.add_argument("job", help="the job's id")
        command.set_defaults(wish={"pause": "paused", "resume": "running", "cancel": "cancelled"}.get(name, ""))
        if name == "show":
            command.add_argument("--json", action="store_true", help="the report as JSON")
    work = add_command(group, "work", _work, "one worker process of a job: what `run` and Kubernetes start")
    add_arguments(work)


def _add_render(group: Any) -> None:
    example = "headrace backfill render --from 7d --image registry.example/headrace:1 --workers 8 > job.yaml"
    render = add_command(group, "render", _render, RENDER, example)
    _add_asked(render)
    render.add_argument("--id", default="", help="the job's id (default: made of what is asked for)")
    render.add_argument("--workers", type=whole(0), default=0, help="pods (default: one a partition, at most 8)")
    render.add_argument("--image", required=True, help="an image with headrace[encoder,head,backfill]")
    for name, text in (
        ("namespace", "default: default"), ("config-map", "has headrace.toml under that key (default: headrace)"),
        ("secret", "its entries become environment variables, for `env:` references"),
        ("cpu", "processors of a pod (default: 1)"), ("memory", "of a pod (default: 4Gi)"),
        ("priority-class", "one below that of the live workers"),
    ):
        render.add_argument(f"--{name}", help=text)
    render.add_argument("--gpus", type=whole(0), help="GPUs of a pod (default: 0)")


def _add_asked(run: argparse.ArgumentParser) -> None:
    run.add_argument("file", nargs="?", type=Path, help="a job in TOML: id, ring, source, from, to, tenants, heads, "
                     "targets, tenant, workers, max_per_s")
    run.add_argument("--ring", help="the ring (default: the only one)")
    run.add_argument("--source", help="utterances (default), embeddings, or files: a path, a glob or a URL of JSON "
                     "lines, CSV or Parquet")
    run.add_argument("--from", dest="start", metavar="WHEN", help=f"default: earliest. {WHEN}")
    run.add_argument("--to", dest="end", metavar="WHEN", help="default: latest, as it is now. As --from")
    run.add_argument("--tenant", dest="tenants", action="append", default=[], help="only this one; may be repeated")
    run.add_argument("--head", dest="heads", action="append", default=[], metavar="TENANT=VERSION",
                     help="score a tenant with this version (default: the current one)")
    run.add_argument("--target", dest="targets", action="append", default=[], metavar="topic|PLACE",
                     help="topic (the default): the backfill lane's predictions; or a directory or URL for Parquet; "
                     "may be repeated")
    run.add_argument("--tenant-of-files", dest="tenant", help="the tenant of lines that name none")


def _asked(args: argparse.Namespace, settings: Settings) -> tuple[Any, Any]:
    """(what is asked for, the job file's other settings): flags over the file."""
    from infra.backfill.job import SOURCES, TOPIC_TARGET
    from infra.backfill.job_file import JobFile, asked_of, read_job_file

    file, heads = read_job_file(args.file) if args.file else (JobFile(), {})
    given: dict[str, Any] = {name: value for name, value in (
        ("source", args.source), ("start", args.start), ("end", args.end), ("tenants", tuple(args.tenants)),
        ("targets", tuple(args.targets)), ("tenant", args.tenant),
    ) if value}
    for one in args.heads:
        tenant, there, version = one.partition("=")
        if not (tenant and there and version):
            raise Misconfigured(f"--head {one}: TENANT=VERSION is wanted")
        heads[tenant] = version
    ring = ring_of(settings, args.ring or file.ring or None).name
    told = replace(asked_of(file, heads, ring), **given)
    targets = tuple(one if one == TOPIC_TARGET else _anywhere(one) for one in told.targets)
    source = told.source if told.source in SOURCES else _anywhere(told.source)
    return replace(told, source=source, targets=targets), file


def _anywhere(place: str) -> str:
    """A path that means the same from every directory: the job may go on from another one."""
    return place if not place or "://" in place or "::" in place else str(Path(place).expanduser().absolute())


def _run(args: argparse.Namespace) -> int:
    from infra.backfill.report import summary
    from infra.backfill.run import Options, write_json

    settings = load_running(args.config)  # a job waits for its broker
    asked, file = _asked(args, settings)
    options = Options(args.workers or file.workers, args.max_per_s or file.max_per_s, args.ignore_live, args.share)
    try:
        told, stopped = asyncio.run(_told(args, settings, asked, args.id or file.id, options))
    except asyncio.CancelledError:
        _say("stopped; the same command goes on")
        return 130
    print(summary(told))
    if args.report:
        write_json(told, args.report)
        print(f"report: {args.report}")
    if told["state"] not in ("done", "incomplete"):
        again = f"headrace backfill resume {told['id']}, then " if told["state"] in ("paused", "cancelled") else ""
        _say(f"{told['state']}; go on with: {again}headrace backfill run --id {told['id']}")
        if stopped:
            return 130
    return int(told["state"] != "done")


async def _told(
    args: argparse.Namespace, settings: Settings, asked: Any, name: str, options: Any
) -> tuple[dict[str, Any], bool]:
    """(a job's report, whether a signal stopped it). A first signal lets it finish what it computes, a second does not.
    Raises: CancelledError."""
    from infra.backfill.meter import Meter
    from infra.backfill.run import run

    stop, meter, config = asyncio.Event(), Meter(), str(settings_path(args.config).resolve())
    working = asyncio.ensure_future(run(settings, config, asked, name, options, meter, stop, _say, _is_bare(args)))

    def signalled() -> None:
        if stop.is_set():
            working.cancel()
        stop.set()

    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, signalled)
    try:
        return await working, stop.is_set()
    finally:
        meter.close()


def _render(args: argparse.Namespace) -> None:
    from infra.backfill.render import Pods, job_manifest
    from infra.backfill.run import make

    settings = running(args.config)
    asked, file = _asked(args, settings)
    job = asyncio.run(make(settings, asked, args.id or file.id, _say, _is_bare(args)))
    for place in (job.asked.source, *job.asked.targets):
        if place.startswith("/"):
            _say(f"note: {place} is of this machine; a pod has it only where you add a volume with that path")
    names = ("image", "namespace", "config_map", "secret", "cpu", "memory", "priority_class", "gpus")
    pods = Pods(**{name: getattr(args, name) for name in names if getattr(args, name) is not None})
    workers = args.workers or file.workers or min(8, len(job.spans))
    print(job_manifest(job.id, max(1, min(workers, len(job.spans))), pods), end="")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _is_bare(args: argparse.Namespace) -> bool:
    """Whether nothing but `--id` names the job: it goes on, whatever it was asked for."""
    given = (args.file, args.source, args.start, args.end, args.tenants, args.heads, args.targets, args.tenant)
    return bool(args.id) and not any(given)


def _list(args: argparse.Namespace) -> None:
    from infra.backfill.look import looks

    found = asyncio.run(looks(running(args.config)))
    for told in found:
        print(json.dumps(told, ensure_ascii=False) if args.json else
              f"{told['id']}\t{told['state']}\t{told['share']}\t{told['read']:,} read\t{told['asked']['source']}\t"
              f"{told['created']}")
    if not found and not args.json:
        print("no backfills; headrace backfill run makes one")


def _show(args: argparse.Namespace) -> int:
    from infra.backfill.look import looks
    from infra.backfill.report import summary

    (told,) = asyncio.run(looks(running(args.config), args.job))
    if args.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        print(summary(told))
        print(f"progress: {told['share']}")
        for one in told["workers"]:
            how = f"{one['state']}, {one['per_s']:,.0f}/s {one['why']}".rstrip()
            print(f"worker {one['worker']} on {one['host']}: {how}")
        for one in told["partitions"]:
            print(f"{one['source']}[{one['partition']}]\t{one['position']} of {one['start']} to {one['end']}\t"
                  f"{one['predicted']:,} predicted")
    return int(told["state"] in ("incomplete", "cancelled"))


def _wish(args: argparse.Namespace) -> None:
    from infra.backfill.look import wish_for

    print(asyncio.run(wish_for(running(args.config), args.job, args.wish)))


def _work(args: argparse.Namespace) -> int:
    from infra.backfill.__main__ import run
    from topology.stream.process import run_process

    return run_process(lambda stop: run(args, stop))
