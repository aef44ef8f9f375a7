"""The page of a comparison: whole without anything beside it, and safe whatever a client or a tenant wrote."""

import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from infra.backfill.compare.comparison import Comparison
from infra.backfill.compare.page import page, write_page
from tests.unit.infra.test_comparison import entity, row

HOSTILE = [
    "<script>document.title = 'taken'</script>", "<img src=x onerror=\"document.title = 'taken'\">", "' onmouseover='x",
    "</title></style></details></table>", "&lt;b&gt; & &amp;", "\u202egnirts desrever", "\x00\x1b[31m", "{0} %s {x!r}",
    "x" * 5_000, "half a pair \ud83d", "שלום עולם", "",
]
VOID = {"meta"}


def told(comparison, **more):
    return {
        "tenant": "acme", "versions": {"before": "v1", "after": "v2"}, "about": {"ring": "en"}, "warnings": [],
        **comparison.summary(), **more,
    }


def hostile():
    """Every name and text that comes from elsewhere is one of the hostile ones, in every kind of change."""
    comparison = Comparison()
    for i, text in enumerate(HOSTILE):
        other = HOSTILE[(i + 1) % len(HOSTILE)]
        spans = [{**entity(text, 0, 3, other), "text": text}]
        comparison.add(row(text, text=text, entities=spans), row(other, text=text))
        comparison.add(row(text, text=text, entities=spans), row(text, text=text))
        comparison.add(row(text, text=text), row(text, text=text, out_of_scope=True))
        comparison.add(row(text, text=text), row(error=text or "bad_head", text=text))
    names = {"before": HOSTILE[0], "after": HOSTILE[1]}
    return told(comparison, tenant=HOSTILE[3], versions=names, about={HOSTILE[1]: HOSTILE[2]}, warnings=HOSTILE)


class Reader(HTMLParser):
    """Every element, its attributes, and whether each is closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.misplaced = [], [], []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.misplaced.append(tag)

    def handle_data(self, data):
        self.text += data


def test_no_text_of_a_client_becomes_an_element_or_an_attribute():
    read = Reader(page(hostile()))
    assert not read.misplaced and not read.open
    assert {tag for tag, _ in read.elements} <= {
        "html", "meta", "title", "style", "h1", "h2", "p", "div", "span", "b", "ul", "li", "table", "thead", "tbody",
        "tr", "th", "td", "bdi", "details", "summary", "small", "q", "dl", "dt", "dd", "figure", "figcaption", "svg",
        "rect", "line", "text",
    }
    names = {name for _, attributes in read.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in ("href", "src", "srcdoc", "action")], names
    assert all(text[:400] in read.text for text in HOSTILE)


def test_a_page_of_hostile_texts_can_be_written_and_needs_nothing_beside_it(tmp_path):
    text = write_page(hostile(), tmp_path / "page.html").read_bytes().decode()
    assert not [word for word in ("<script", "http:", "https:", "url(", "@import") if word in text.lower()]
    assert len(text) < 300_000


def test_the_page_tells_agreement_changes_entities_and_what_to_read():
    comparison = Comparison()
    for i in range(200):
        after = "off" if i < 14 else "on"
        comparison.add(row("on", text=f"light {i}", offset=i), row(after, confidence=0.7, offset=i))
    comparison.add(row("on", entities=[entity("room", 0, 5, "attic")]), row("on"))
    text = Reader(page(told(comparison, warnings=["cut short"]))).text
    for wanted in ("93.0%", "on → off", "95 % interval 88.6% to 95.8%", "cut short", "room: only before", "light 3",
                   "room: xxxxx = attic", "14 utterances", "-0.1"):
        assert wanted in text, wanted


def test_a_comparison_of_nothing_says_so_and_shows_no_figures():
    text = page(told(Comparison(), warnings=["No utterance of acme was found"]))
    assert "No utterance of acme was found" in text
    assert "%" not in Reader(text).text.partition("@media")[2].partition("}\n")[2]
    assert "same intent" not in text


def browser():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(browser() is None, reason="left out: no Chromium is on this machine; the parsed page is tested")
def test_a_browser_runs_nothing_of_it_and_no_line_is_wider_than_a_phone(tmp_path):
    inner = write_page(hostile(), tmp_path / "page.html")
    frame = tmp_path / "phone.html"
    frame.write_text(
        f"<iframe id=f src='{inner.name}' width=380 height=700></iframe><p id=told></p><script>f.onload = () => {{ "
        "const page = f.contentDocument; told.textContent = (page.title === 'taken') + ' ' + "
        "page.querySelectorAll('script, img').length + ' ' + (page.documentElement.scrollWidth <= 380) }</script>"
    )
    done = subprocess.run(
        [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )
    assert '<p id="told">false 0 true</p>' in done.stdout, done.stdout[-500:]
