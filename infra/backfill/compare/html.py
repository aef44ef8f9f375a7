"""How a page of a comparison looks, and the small parts it is made of."""

from __future__ import annotations

import html
from collections.abc import Iterable

from infra.training.report import STYLE

MOST_ROWS = 15  # of a table; the JSON has all
LONG = 20  # characters of a name, which may be cut where there is little room
PAGE_STYLE = STYLE + """
body { overflow-wrap: break-word }
h1 { margin-bottom: .2rem } h2 { margin: 2.2rem 0 .3rem; border-top: 1px solid #dde3e9; padding-top: 1rem }
.about { color: #5a6b7d; margin: 0 0 1rem; overflow-wrap: anywhere } .note { color: #5a6b7d; max-width: 46rem }
.warning { background: #fff3d6; border-left: 4px solid #fe9929; padding: .5rem .8rem; max-width: 46rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .8rem; margin: 1rem 0 }
.card { border: 1px solid #dde3e9; border-radius: 8px; padding: .7rem .9rem } .card b { font-size: 1.7rem }
.card b, .card span { display: block } .card span { color: #5a6b7d; font-size: 13px }
td, th { font-variant-numeric: tabular-nums }
.kinds { display: flex; height: 1.6rem; border-radius: 6px; overflow: hidden; background: #edf1f4 }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .5rem 0 }
.key { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .35rem }
thead th { border-bottom: 1px solid #aab4bf; font-weight: 600 }
.changed tbody tr:nth-child(even) { background: #f6f8fa }
.changed bdi { display: inline-block; max-width: 15rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.changed bdi { vertical-align: bottom } th.name { text-align: left } .red { background: #cb181d }
.plots { display: flex; flex-wrap: wrap; gap: 1rem 2rem } figure { margin: 0; flex: 1 1 20rem; max-width: 30rem }
figure svg { width: 100%; height: auto } figcaption { font-size: 13px; color: #5a6b7d }
details { border: 1px solid #dde3e9; border-radius: 8px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer; overflow-wrap: anywhere; padding: .2rem 0 } summary small { color: #5a6b7d }
.sample { border-top: 1px solid #edf1f4; padding: .5rem 0 } .sample q { font-size: 16px; overflow-wrap: anywhere }
.said { margin: .2rem 0; font-size: 14px; gap: .1rem .8rem; grid-template-columns: max-content 1fr }
.said dt { color: #5a6b7d } .said dd { margin: 0; overflow-wrap: anywhere }
.said .other { font-weight: 600; color: #a50f15 } .chip { background: #edf1f4; border-radius: 4px; padding: 0 .35rem }
.sample small { color: #8a97a5; overflow-wrap: anywhere } h1 { overflow-wrap: anywhere }
@media (max-width: 40rem) { body { margin: 1rem auto } .changed .bars, .changed th:empty { display: none }
.changed bdi { max-width: 8rem }
.changed { font-size: 13px } .changed td, .changed th { padding: .15rem .3rem } }
"""


def shown(text: str) -> str:
    """A name or a text of somebody else, escaped, and kept from turning the direction of what stands beside it."""
    told = html.escape(text)
    return f"<bdi title='{told}'>{told}</bdi>" if len(text) > LONG else f"<bdi>{told}</bdi>"


def bar_cell(part: float) -> str:
    """A table's cell with a bar for a share of 1."""
    return f"<td class='name bars'><span class='bar red' style='width:{part * 8:.2f}rem'></span></td>"


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """A table of rows that are HTML already."""
    names = "".join(f"<th{' class=name' * (at == 0)}>{one}</th>" for at, one in enumerate(head))
    return (
        f"<div class=scroll><table class=changed><thead><tr>{names}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        "</div>"
    )


def left_out(count: int, most: int = MOST_ROWS) -> str:
    """Where the rest is, if there is more than is shown."""
    return f"<p class=note>{count - most:,} more are in the JSON (--json).</p>" if count > most else ""
