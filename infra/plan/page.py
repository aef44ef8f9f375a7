"""A plan as a page of text, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from infra.plan.fleet import ASSUMED, Plan
from infra.plan.limits import first, limits
from infra.plan.rates import Rates
from infra.plan.sheet import Line, shown

WIDE = 22


def page(plan: Plan, rates: Rates, prices: Mapping[str, float], priced: str) -> list[str]:
    """Every line with its formula and its numbers, what they come from, and what breaks first."""
    asked = plan.asked
    lines = [f"{shown(asked.tenants)} tenants, {shown(asked.tps)} utterances/s of {shown(asked.tokens)} tokens, p90 "
             f"within {shown(asked.objective_ms)} ms, also with one of {asked.zones} zones lost"]
    lines += ["", *summary(plan)]
    for part in plan.parts:
        names = ", ".join(part.rings)
        lines += ["", f"each of {len(part.rings)} rings ({names})" if len(part.rings) > 1 else f"ring {names}"]
        lines += _lines(part.sheet.lines)
    lines += ["", "all rings", *_lines(plan.fleet.lines)]
    lines += ["", f"cost in {plan.currency}: {priced}", *_lines(plan.cost.lines)]
    lines += ["", "the same tenants as whole models, one for each", *_lines(plan.whole.lines)]
    lines += ["", "what breaks first", *(f"  {one.said()}" for one in limits(plan))]
    return [*lines, "", *_sources(plan, rates, prices)]


def summary(plan: Plan) -> list[str]:
    """The plan in a few lines."""
    fleet, cost, whole = plan.fleet, plan.cost, plan.whole
    on_gpus = cost["encoders_on_gpus"] < cost["encoders_on_cpus"]
    encoders = f"{shown(fleet['gpus'])} GPUs" if on_gpus else f"{shown(fleet['encoder_workers'])} workers on CPUs"
    brokers, stacks, heads_gb = (shown(fleet[name]) for name in ("brokers", "stacks", "head_memory_gb"))
    return [
        f"  {shown(fleet['rings'])} rings, {shown(fleet['cells'])} cells, {shown(fleet['all_partitions'])} partitions, "
        f"{brokers} brokers, stacks of Kafka and Redis: {stacks}",
        f"  encoders: {encoders}; heads: {shown(fleet['head_workers'])} workers, {heads_gb} GB of memory; "
        f" Redis {shown(fleet['redis_gb'])} GB; disks {shown(fleet['disk_gb'])} GB",
        f"  {shown(cost['total'])} {plan.currency} a month; whole models: {shown(whole['whole_total'])}, "
        f"{shown(whole['ratio'])} times as much",
        f"  {first(plan).said()}",
    ]


def _lines(lines: Iterable[Line]) -> Iterable[str]:
    for one in lines:
        value = f"{shown(one.value)} {one.unit}".rstrip()
        yield f"  {one.name:{WIDE}} {value}" + (f"  ({one.about})" if one.about else "")
        yield f"  {'':{WIDE}}   = {one.formula}"
        if one.numbers != one.formula:
            yield f"  {'':{WIDE}}   = {one.numbers}"


def _sources(plan: Plan, rates: Rates, prices: Mapping[str, float]) -> Iterable[str]:
    yield "measured"
    for name, one in rates.figures.items():
        yield f"  {name:{WIDE}} {shown(one.value)}  {one.about}; {one.source}"
    yield "assumed or published"
    for name, (value, about) in ASSUMED.items():
        yield f"  {name:{WIDE}} {shown(value)}  {about}"
    yield f"  {'busy':{WIDE}} {shown(plan.fleet['busy'])}  the highest rate with p90 in time, over the saturated"
    yield f"  {'prices':{WIDE}} " + ", ".join(f"{name} {shown(value)}" for name, value in prices.items())


def as_json(plan: Plan, rates: Rates, prices: Mapping[str, float]) -> dict[str, Any]:
    """The same for programs."""
    def rows(lines: Iterable[Line]) -> dict[str, Any]:
        return {one.name: {k: v for k, v in vars(one).items() if k != "name"} for one in lines}

    return {
        "asked": dataclasses.asdict(plan.asked), "currency": plan.currency,
        "rings": [{"rings": list(part.rings), "lines": rows(part.sheet.lines)} for part in plan.parts],
        "fleet": rows(plan.fleet.lines), "cost": rows(plan.cost.lines), "whole_models": rows(plan.whole.lines),
        "first": first(plan).name, "limits": [{**vars(one), "times": one.times} for one in limits(plan)],
        "given": {**plan.cost.values, **{line.name: line.value for line in plan.whole.lines}},
        "rates": {name: vars(one) for name, one in rates.figures.items()}, "prices": dict(prices),
    }
