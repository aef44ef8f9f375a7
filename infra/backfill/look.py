"""Jobs as an operator sees them, and what an operator wishes of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from infra.backfill.jobs import Jobs, Wish, readable, reading
from infra.backfill.progress import Progress
from infra.backfill.report import done_and_all, report, state_of
from infra.backfill.run import refused_at
from topology.settings import Settings
from topology.stream.process import now_us


async def looks(settings: Settings, name: str = "") -> list[dict[str, Any]]:
    """The report so far of every job, or of one, with `share` and `workers`. Raises: Misconfigured, Unavailable."""
    async with reading(settings) as jobs:
        wanted = [jobs.wanted(name)] if name else readable(jobs)
        return [await _look(settings, jobs, job.id) for job in wanted]


async def _look(settings: Settings, jobs: Jobs, name: str) -> dict[str, Any]:
    job = jobs.wanted(name)
    progress = Progress(settings, jobs, job)
    try:
        await progress.read()
    finally:
        await progress.stop()
    state = state_of(job, progress.reached, jobs.wish(name), jobs.beats(name), now_us())
    done, whole = done_and_all(job, progress.reached)
    told = report(job, progress.reached, state, refused_at(settings, job))
    share = f"{done / whole:.0%}" if whole else "100%" if state in ("done", "incomplete") else f"{done:,} rows"
    return {**told, "share": share, "workers": [asdict(beat) for beat in jobs.beats(name)]}


async def wish_for(settings: Settings, name: str, wish: Wish) -> str:
    """Say what a job's workers are to do. Returns what that means. Raises: Misconfigured, Unavailable."""
    async with reading(settings) as jobs:
        jobs.wanted(name)
        await jobs.wish_for(name, wish)
        told = await _look(settings, jobs, name)
    if told["state"] in ("done", "incomplete"):
        return f"{name} is {told['state']} already: nothing works on it any more"
    if wish == "running" and told["state"] == "stopped":
        return f"{name} may go on; nothing works on it now: headrace backfill run --id {name}"
    return f"{name}: {wish} from now on"
