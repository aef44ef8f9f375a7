"""How far a partition may be committed when records finish out of order."""

from topology.stream.watermarks import Watermarks


def test_nothing_unfinished_is_ever_skipped():
    marks = Watermarks()
    for offset in (4, 5, 7, 8):  # 6 is a transaction marker
        marks.start("p", offset)
    for offset in (8, 5, 7):
        marks.finish("p", offset)
    assert marks.committable() == {} and marks.unfinished == 1
    marks.finish("p", 4)
    assert marks.committable() == {"p": 9} and marks.unfinished == 0


def test_partitions_do_not_wait_for_each_other():
    marks = Watermarks()
    marks.start("p", 0)
    marks.start("q", 10)
    marks.finish("q", 10)
    assert marks.committable() == {"q": 11}


def test_what_finishes_after_its_partition_was_given_up_is_not_committed():
    marks = Watermarks()
    marks.start("p", 0)
    marks.clear()
    marks.finish("p", 0)
    assert marks.committable() == {} and marks.unfinished == 0
    marks.start("p", 0)  # it came back, and is read from the committed offset again
    assert marks.committable() == {} and marks.unfinished == 1


def test_a_record_that_was_given_up_and_finishes_twice_counts_once():
    marks = Watermarks()
    marks.start("p", 0)
    marks.clear()
    marks.start("p", 0)  # it came back, while the former reading is still being computed
    marks.finish("p", 0)
    marks.finish("p", 0)
    marks.start("p", 1)
    assert marks.committable() == {"p": 1} and marks.unfinished == 1
