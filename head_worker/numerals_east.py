"""Numbers in words of Chinese and Thai, which are written without blanks: 三十五, 两百, สามสิบห้า.

No library that is light and kept reads both inside a sentence. A word for a number is often a part of another word
(十分 "very", ห้าม "forbid"), so one alone counts only before a word that is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_CHINESE = {"零": 0, "〇": 0, "一": 1, "二": 2, "两": 2, "兩": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8,
            "九": 9, "十": 10, "百": 100, "千": 1_000, "万": 10_000, "萬": 10_000, "亿": 10**8, "億": 10**8}
_THAI = {"ศูนย์": 0, "หนึ่ง": 1, "เอ็ด": 1, "สอง": 2, "ยี่": 2, "สาม": 3, "สี่": 4, "ห้า": 5, "หก": 6, "เจ็ด": 7,
         "แปด": 8, "เก้า": 9, "สิบ": 10, "ร้อย": 100, "พัน": 1_000, "หมื่น": 10_000, "แสน": 100_000, "ล้าน": 10**6}
_WORDS = {"zh": _CHINESE, "th": _THAI}
_RUN = {lang: re.compile(f"(?:{'|'.join(words)})+") for lang, words in _WORDS.items()}
_ONE = {lang: re.compile("|".join(words)) for lang, words in _WORDS.items()}
# Ordinals and days: 第三, 星期三, 周三, 礼拜三, 初三; อันดับสาม, ที่สาม.
_BEFORE = {"zh": re.compile("[第期周週拜初]$"), "th": re.compile("ที่ ?$|อันดับ ?$")}
# Hours, days of a month, the names of months: 三点, 三月, 三号; สามโมง, สามทุ่ม. And what goes on as another word.
_AFTER = {"zh": re.compile("[月日号號点點时時刻]"), "th": re.compile("[ะ-ฺ็-๎]| ?(?:โมง|ทุ่ม|นาฬิกา)")}
_COUNTED = {
    "zh": re.compile("[个個张張位人块塊元本件杯瓶份只隻条條间間台臺辆輛次岁歲天周週年秒双雙套项項名遍层層场場篇]"
                     "|分[钟鐘]|小[时時]|钟头|鐘頭|星期|公里|公斤|美元|欧元|歐元|英镑|日元"),
    "th": re.compile(" ?(?:คน|บาท|ใบ|วัน|ชั่วโมง|นาที|วินาที|เดือน|ปี|สัปดาห์|อาทิตย์|ชิ้น|ตัว|แก้ว|จาน|ห้อง|คืน|ครั้ง|อัน|เล่ม|คัน|ขวด"
                     "|โต๊ะ|ถ้วย|กล่อง|ดอลลาร์|ยูโร|ท่าน|เที่ยว|กิโล)|$|(?= (?![ก-๎]))"),
}
_DURATION = re.compile("个?小[时時]|分[钟鐘]|秒|周|个?星期|个月|年")  # before which 一 is no article
_MONEY = {
    "zh": {"元": "CNY", "块钱": "CNY", "塊錢": "CNY", "块": "CNY", "人民币": "CNY", "欧元": "EUR", "歐元": "EUR",
           "美元": "USD", "美金": "USD", "英镑": "GBP", "日元": "JPY", "港币": "HKD"},
    "th": {"บาท": "THB", "฿": "THB", "ดอลลาร์": "USD", "ยูโร": "EUR"},
}
_MONEY_AFTER = {lang: re.compile(f" ?({'|'.join(names)})").match for lang, names in _MONEY.items()}
_PIECE = re.compile("块(?=[\u4e00-\u9fff])(?!钱)")  # 三块蛋糕: three pieces
# Digits that touch a letter, which quantulum3 reads only with blanks around; not those of a date or an hour.
_TOUCHING = re.compile("(?<![\\w.,:/-])\\d+(?:[.,]\\d+)*(?![\\d年月日号號点點时時.,:/-]|[A-Za-z])"
                       "|(?<=[\u0e00-\u9fff])\\d+(?:[.,]\\d+)*(?![\\d年月日号號点點时時.,:/-]|[A-Za-z])")
# 一个半小时, 两个半月; 一点五小时 (but 三点五分 is five past three)
_DECIMAL = re.compile("(?P<whole>\\d{1,9}|[零一二两兩三四五六七八九十百]{1,9})"
                      "(?:[个個]半|点(?P<digits>[零〇一二三四五六七八九]+))"
                      "(?=[个個]?(?:小[时時]|[钟鐘][头頭]|月|星期|礼拜)|天|年|公里|公斤|元|块|分[钟鐘])")
MOST = 20  # words or digits of a number: of 200 digits quantulum3 computes for seconds
MAX_NUMBERS = 24  # of a text: about 1 ms each, and up to 10 ms as a duration
_BIG = {"zh": 10_000, "th": 10**6}
LONG = 3  # digits in words, one by one, from which on they are a number and not "three or four"


def numbers(text: str, lang: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, digits between blanks) of the numbers, in words or digits, in the text's order."""
    found = list(_decimals(text)) if lang == "zh" else []
    whole = [*_in_words(text, lang), *((one.start(), one.end(), one.group()) for one in _TOUCHING.finditer(text))]
    found += [one for one in whole if all(one[1] <= start or end <= one[0] for start, end, _ in found)]
    yield from ((start, end, f" {digits} ") for start, end, digits in sorted(found)[:MAX_NUMBERS])


def _decimals(text: str) -> Iterator[tuple[int, int, str]]:
    for one in _DECIMAL.finditer(text, 0):
        whole = one["whole"]
        value = int(whole) if whole.isdecimal() else value_of([_CHINESE[word] for word in whole], _BIG["zh"])
        if value is not None and not _BEFORE["zh"].search(text, 0, one.start()):
            digits = "".join(str(_CHINESE[word]) for word in one["digits"][:MOST]) if one["digits"] else "5"
            yield one.start(), one.end(), f"{value}.{digits}"


def money_after(text: str, at: int, lang: str) -> tuple[int, str] | None:
    """(where it ends, ISO 4217 code) of a currency that stands after a number."""
    if lang not in _MONEY or _PIECE.match(text, at) or not (found := _MONEY_AFTER[lang](text, at)):
        return None
    return found.end(), _MONEY[lang][found[1]]


def _in_words(text: str, lang: str) -> Iterator[tuple[int, int, str]]:
    for run in _RUN[lang].finditer(text):
        words = _ONE[lang].findall(run.group())
        values = [_WORDS[lang][word] for word in words]
        if _BEFORE[lang].search(text, 0, run.start()) or _AFTER[lang].match(text, run.end()):
            continue
        value = value_of(values, _BIG[lang])
        if value is not None and (len(words) > 1 or _is_counted(text, run.end(), lang, values[0])):
            yield run.start(), run.end(), str(value)


def _is_counted(text: str, end: int, lang: str, value: int) -> bool:
    """Whether what follows one word says that it is a number."""
    wanted = _DURATION if lang == "zh" and value == 1 else _COUNTED[lang]
    return wanted.match(text, end) is not None


def value_of(values: Sequence[int], big: int = 10_000) -> int | None:
    """The number that words of these values make: 3, 10, 5 are 35. None where they make none. `big`: from here on a
    unit multiplies all that was said before it: 万 in Chinese, a million in Thai."""
    if len(values) > MOST:
        return None
    if all(value < 10 for value in values):  # digit by digit, as of a telephone
        return int("".join(map(str, values))) if len(values) == 1 or len(values) >= LONG else None
    if values[0] > 10:
        return None  # 千万 "by all means", 百 of 百姓
    total = section = digit = last = highest = 0
    for value in values:
        if value < 10:
            digit, last = value, last if value else 0
        elif value < big:
            section, digit, last = section + (digit or 1) * value, 0, value
        elif value < highest:  # 一亿两千万
            total, section, digit, last = total + (section + digit) * value, 0, 0, value
        else:
            total, section, digit, last, highest = (total + section + digit) * value, 0, 0, value, value
    return total + section + digit * (last // 10 if last >= 100 and values[-2:-1] == [last] else 1)
