"""`headrace render kubernetes`: manifests from headrace.toml."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from infra.cli.command import add_command, add_group
from infra.cli.values import folder_to_write
from infra.counted import counted
from topology.errors import Misconfigured
from topology.settings import settings_path

KUBERNETES = """\
write Kubernetes manifests for what headrace.toml describes: a Kustomize base, components, and two overlays (small: one
zone; production: three zones, KEDA, Prometheus). Nothing is connected to.

headrace.toml is as pods see it, at /etc/headrace: relative paths are taken from there; a file is /etc/headrace/NAME/KEY
and comes from the Secret headrace-NAME. With bootstrap = "headrace-kafka-bootstrap:9093" a Kafka is rendered too
(Strimzi), with url = "redis://headrace-redis:6379/0" a Redis with Sentinels; other addresses are yours. What does not
fit is named with its correction. README.md in DIR says what to do next. Render again after each change: files that you
changed in DIR are not written over. docs/KUBERNETES.md has a whole example."""
EXAMPLE = """
headrace render kubernetes k8s --registry registry.example.com/nlu --tag 1.0
kubectl apply -k k8s/overlays/production"""


def add_commands(commands: Any) -> None:
    """Put `render` among `commands`."""
    render = add_group(commands, "render", "write manifests from headrace.toml", EXAMPLE.strip().splitlines()[0])
    kubernetes = add_command(render, "kubernetes", _kubernetes, KUBERNETES, EXAMPLE)
    kubernetes.add_argument("directory", metavar="DIR", type=folder_to_write, help="where to; it may be there already")
    for name, default, text in (
        ("namespace", "headrace", "of everything"),
        ("registry", "", "before the images' names"),
        ("tag", "", "of our images (default: this version)"),
        ("cluster-domain", "cluster.local", "of the cluster's name service"),
    ):
        shown = f"{text} (default: {default})" if default else text
        kubernetes.add_argument(f"--{name}", default=default, metavar=name.upper(), help=shown)
    kubernetes.add_argument("--force", action="store_true", help="write over files that were not rendered, or changed")


def _kubernetes(args: argparse.Namespace) -> None:
    from importlib.metadata import PackageNotFoundError, version

    from infra.kubernetes.check import advice, check
    from infra.kubernetes.fleet import Fleet
    from infra.kubernetes.folder import write
    from infra.kubernetes.tree import files

    place = settings_path(args.config)
    try:
        toml = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{place}: cannot be read ({error}). Give a path, set HEADRACE_CONFIG, or run "
                            "`headrace init`.") from error
    try:
        own = version("headrace")
    except PackageNotFoundError:
        own = "0"
    fleet = Fleet(toml, args.namespace, args.registry, args.tag or own, args.cluster_domain)
    check(fleet)
    for line in advice(fleet):
        print(f"note: {line}", file=sys.stderr)
    written = write(args.directory, rendered := files(fleet, own), args.force)
    for line in written:
        print(line)
    print(f"{args.directory}: {counted(len(rendered), 'file')}, {len(written)} of them new, changed or removed; "
          f"next: {args.directory / 'README.md'}")
