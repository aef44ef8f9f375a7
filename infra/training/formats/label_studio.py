"""Label Studio: an export as JSON or JSON-MIN. Its places count UTF-16 units, as a browser does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.training.formats.columns import INTENTS, TEXTS
from infra.training.formats.format import Format
from infra.training.formats.found import Found, Span
from infra.training.formats.placed_json import items, line_of, maps
from infra.training.formats.placing import said_at
from infra.training.formats.source import Source

DONE = ("annotations", "completions")  # completions: before version 1
MIN = {"annotation_id", "annotator", "lead_time"}  # of JSON-MIN


def knows(source: Source) -> bool:
    """Tasks with data and annotations, or rows of JSON-MIN."""
    known = {*DONE, "predictions"}
    return any(len(MIN & set(one)) > 1 or (isinstance(one.get("data"), dict) and bool(known & set(one)))
               for one in _tasks(source))


def read(sources: Sequence[Source], found: Found) -> None:
    """The choice is the intent; of several annotations of a task the first that was not skipped is taken."""
    for source in sources:
        for number, task in enumerate(_tasks(source), 1):
            place = source.at(line_of(task), str(task.get("id", number)))
            with found.row(place):
                data = task["data"] if isinstance(task.get("data"), dict) else task
                text = next((data[name] for name in (*TEXTS, *data) if isinstance(data.get(name), str)), None)
                if not isinstance(text, str):
                    raise ValueError("its data has no text")
                values = _values(task, found) if data is not task else _of_min(task)
                if values is None:
                    found.notes["tasks left out that nobody has annotated, or that were skipped"] += 1
                    continue
                spans = [span for _, value in values for span in _spans(text, value, found)]
                found.add(place, text, found.or_unnamed(_intent(values)), spans, source.split)


def _tasks(source: Source) -> list[dict[str, Any]]:
    body = source.document
    return maps([body] if isinstance(body, dict) else body) or [line.body for line in source.lines]


def _values(task: Mapping[str, Any], found: Found) -> list[tuple[str, dict[str, Any]]] | None:
    """(the control's name, its value) of the task's annotation."""
    done = [one for key in DONE for one in maps(task.get(key)) if not one.get("was_cancelled")]
    if len(done) > 1:
        found.notes["tasks with several annotations, of which the first is taken"] += 1
    return [(str(one.get("from_name")), one["value"]) for one in maps(done[0].get("result"))
            if isinstance(one.get("value"), dict)] if done else None


def _of_min(task: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    values: list[tuple[str, dict[str, Any]]] = [(name, one) for name, marks in task.items() for one in maps(marks)]
    for name in INTENTS:
        value = task.get(name)
        if isinstance(value, str | dict):
            values.append((name, value if isinstance(value, dict) else {"choices": [value]}))
    return values


def _spans(text: str, value: Mapping[str, Any], found: Found) -> Iterator[Span]:
    for key in ("labels", "hypertextlabels"):
        for label in items(value.get(key))[:1]:
            start, end = value["start"], value["end"]
            yield *said_at(text, start, end, value.get("text"), found.options.offsets), str(label)


def _intent(values: Sequence[tuple[str, Mapping[str, Any]]]) -> str | None:
    """The choice of a control that is called as intents are, else of the first. Raises: ValueError where it has two."""
    chosen = [(name, items(value.get("choices"))) for name, value in values if "choices" in value]
    chosen.sort(key=lambda one: one[0] not in INTENTS)
    if not chosen:
        return None
    if len(chosen[0][1]) != 1:
        raise ValueError(f"one intent is wanted, not {len(chosen[0][1])}: {', '.join(map(str, chosen[0][1]))}")
    return str(chosen[0][1][0])


LABEL_STUDIO = Format("label-studio", knows, read)
