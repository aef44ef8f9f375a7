"""Logs that records of strangers cannot fill."""

import logging
from dataclasses import replace

from topology.pacing import PACING
from topology.stream.log_limit import LogLimit


class Lines(logging.Handler):
    def __init__(self, pacing):
        super().__init__()
        self.said = []
        self.addFilter(LogLimit(pacing))

    def emit(self, record):
        self.said.append(record.getMessage())


def logger_with(handler, name):
    log = logging.getLogger(name)
    log.handlers, log.propagate = [handler], False
    return log


def test_one_place_writes_no_more_than_its_lines_and_others_are_heard():
    lines = Lines(replace(PACING, log_lines=3, log_window_s=1e9))
    log = logger_with(lines, "flood")
    for number in range(1_000):
        log.warning("record %d refused", number)
    log.warning("something else")
    assert lines.said == ["record 0 refused", "record 1 refused", "record 2 refused", "something else"]


def test_the_first_line_of_the_next_window_says_how_many_were_left_out():
    lines = Lines(replace(PACING, log_lines=1, log_window_s=1e9))
    log = logger_with(lines, "windows")

    def refuse(text):
        log.warning("refused: %s", text)

    for text in ("one", "two", "three"):
        refuse(text)
    (limit,) = lines.filters
    limit._places = {place: (since_s - 1e10, count) for place, (since_s, count) in limit._places.items()}
    refuse("100 %s")
    assert lines.said == ["refused: one", "refused: 100 %s (and 2 lines like it before)"]
