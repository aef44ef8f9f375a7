"""A text that is rewritten for the libraries, and the places of what they find in it."""

import random

import pytest

pytest.importorskip("text_to_num")

from head_worker.numerals import WORD_LANGUAGES, rewritten, with_hours

PIECES = {
    "de": ["zwanzig", "einundzwanzig", "Euro", "1.234,50", "😀", "für", "17 Uhr", "am", "3. Mai", "é", ",", "ein"],
    "zh": ["三十五", "分钟", "五", "😀", "元", "三万五千块钱", ",", "半"],
    "th": ["สามสิบห้า", "นาที", "๑๒", "😀", "บาท", "สองร้อย", ",", "ชั่วโมง"],
    "fr": ["quatre-vingt-dix", "vingt et un", "deux millions d'euros", "1\u202f234,50", "€", "le", "neuf", "e\u0301"],
}


@pytest.mark.parametrize("lang", sorted(PIECES))
def test_every_piece_of_a_rewritten_text_stands_at_its_place_in_what_was_said(lang):
    for seed in range(300):
        said = " ".join(random.Random(seed).choices(PIECES[lang], k=seed % 9 + 1))
        for found in (rewritten(said, lang), with_hours(said, lang)):
            places = [found.original(at, at + 1) for at in range(len(found.text))]
            assert all(0 <= start < end <= len(said) for start, end in places), said
            assert places == sorted(places)
            for at, (start, end) in enumerate(places):
                if end == start + 1 and said[start:end] not in ".,\u202f五":  # else of a piece that was replaced whole
                    assert found.text[at] == said[start:end], (said, found)


def test_a_language_that_has_no_words_for_numbers_here_keeps_its_text():
    assert rewritten("二十元", "ja").text == "二十元"
    assert "ja" not in WORD_LANGUAGES
