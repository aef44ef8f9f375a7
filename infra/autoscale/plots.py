"""A picture of the simulator's runs: replicas and the oldest age over time, a row a trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.autoscale.comparison import Tried
from infra.autoscale.traces import MINUTE, Trace
from topology.errors import Misconfigured


def draw(place: Path, traces: Sequence[Trace], found: Sequence[Sequence[Tried]], objective_s: float) -> None:
    """Write the picture. Raises: Misconfigured where matplotlib is not installed."""
    try:
        import matplotlib  # here: only who wants a picture needs it

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise Misconfigured("pictures need matplotlib: pip install 'headrace[bench]'") from error
    figure, grid = pyplot.subplots(len(traces), 2, figsize=(12, 2.4 * len(traces)), layout="constrained", squeeze=False)
    for number, (trace, (left, right)) in enumerate(zip(traces, grid, strict=True)):
        for tried in found:
            one = tried[0].outcomes[number]
            minutes = [at_s / MINUTE for at_s, *_ in one.ages]
            left.step(minutes, [encoders + heads for _, _, encoders, heads in one.ages], where="post", lw=1,
                      label=one.scaler)
            right.semilogy(minutes, [max(0.1, age) for _, age, *_ in one.ages], lw=1)
        coming = left.twinx()
        coming.plot([n * trace.length_s / 200 / MINUTE for n in range(201)],
                    [trace.rate(n * trace.length_s / 200) for n in range(201)], color="lightgray", zorder=0)
        coming.set_ylabel("utterances/s")
        left.set_title(f"{trace.name}: {trace.about}", fontsize=9, loc="left")
        left.set_ylabel("replicas")
        right.axhline(objective_s, color="black", lw=0.8, ls=":")
        right.set_ylabel("oldest age, s")
    grid[0][0].legend(fontsize=7)
    for axes in grid[-1]:
        axes.set_xlabel("minutes")
    place.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(place, dpi=90)
    pyplot.close(figure)
