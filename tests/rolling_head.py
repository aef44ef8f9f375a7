"""Publishes a head as a new version for tenants, under one release or another:
`python -m tests.rolling_head CONFIG HEAD VERSION TENANTS`."""

import asyncio
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from infra.announce import publish
from topology.addresses import load_running
from topology.heads import HeadManifest


def main(config: str, head: Path, version: str, tenants: list[str]) -> None:
    """Each tenant gets the same weights under its own name."""
    settings = load_running(config)
    manifest = HeadManifest.from_json((head / "head.json").read_text())
    with TemporaryDirectory() as folder:
        for tenant in tenants:
            place = Path(folder) / tenant
            shutil.copytree(head, place)
            (place / "head.json").write_text(replace(manifest, tenant=tenant, version=version).to_json())
            asyncio.run(publish(settings, place))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4].split(","))
