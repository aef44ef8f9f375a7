"""The settings of a stack that answers: a command says within seconds what is away, where a worker would wait."""

from __future__ import annotations

import asyncio

from topology.addresses import load_running
from topology.settings import Settings


def running(config: str | None) -> Settings:
    """As `load_running`, once a broker answers. Raises: Unavailable after `pacing.status_s`; Misconfigured."""
    from topology.stream.groups import reachable  # 0.3 s of imports, which a mistake in headrace.toml need not wait for

    settings = load_running(config)
    asyncio.run(reachable(settings.broker))
    return settings
