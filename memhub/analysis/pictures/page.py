"""One page with all pictures of a log: no other file and no network is needed to read it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from memhub.analysis.pictures.layers import dressed
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.analysis.pictures.figure import Figure, Key
    from memhub.analysis.pictures.records import Record

#: The parts of the page, with what is said below their titles.
SECTIONS: Final = {
    "timeline": (
        "Time line",
        """Each bar is a range in a slot: its colour and the line over it tell the memory type, its
        label the owner. A black line below it tells how long the slot was BUSY, claimed by a
        process. Dashed boxes are waits; signs are refused requests.""",
    ),
    "map": (
        "Memory map",
        """The effective type of every address at the moment that is chosen above, and beside it the
        ranges in slots that it comes from. Addresses grow upwards; heights are not to scale, so
        that small ranges are seen.""",
    ),
    "occupancy": ("Occupancy", "How many slots were in use. The dashed line is their number."),
    "contention": (
        "Contention",
        "Who waited for, or was refused because of, whom. Darker cells waited longer.",
    ),
    "latency": (
        "Latency of requests",
        "How long each request took. Circles were granted, crosses refused.",
    ),
}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a page holds.

    Attributes:
        title: what the log is called.
        facts: names and values for its head.
        notes: what was left out or summed up, in sentences.
        figures: the pictures.
        records: the records behind marks.
        moments: `at`, `say` of each moment that can be chosen, in order.
        people: names that marks can be filtered by.
        ends: the whole of the time axis.
    """

    title: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    figures: Sequence[Figure]
    records: Mapping[Key, Record]
    moments: Sequence[Mapping[str, Any]]
    people: Sequence[str]
    ends: tuple[float, float]


def write_page(it: Contents, library: str) -> str:
    """The page as HTML.

    Args:
        it: what it holds.
        library: JavaScript that defines `vegaEmbed`.
    """
    logs = sorted({log for figure in it.figures for mark in figure.marks for log, _ in mark.records}
                  | {log for log, _ in it.records})  # fmt: skip
    own = _file("page.js")
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(own)}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    title = html.escape(escape_controls(it.title))

    return "".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>Audit log {title}</title>\n<style>\n{_file('page.css')}</style>\n</head>\n",
            f"<body>\n<header>\n<h1>Audit log {title}</h1>\n{_head(it)}",
            '<p class="print-only">Moment: <span id="moment-print">none</span></p>\n</header>\n',
            _controls(it),
            '<main>\n<p id="failed" role="alert" hidden></p>\n',
            "<noscript><p>The pictures need JavaScript, which is switched off.</p></noscript>\n",
            *_sections(it),
            "</main>\n",
            _RECORDS,
            f'<script type="application/json" id="data">{_data(it, logs)}</script>\n',
            f"<script>{library}</script>\n<script>{own}</script>\n</body>\n</html>\n",
        ]
    )


def json_in_html(value: object) -> str:
    r"""JSON that a script element of HTML can hold: no `<`, `>` or `&`, nor a line separator.

    They are escapes in it, such as `\u003c`, which stand for the same characters.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029\x7f":
        text = text.replace(char, f"\\u{ord(char):04x}")

    return text.encode("utf-8", "backslashreplace").decode()


def _data(it: Contents, logs: list[str]) -> str:
    place = {log: number for number, log in enumerate(logs)}

    def name(key: Key) -> str:
        return f"{place[key[0]]} {key[1]}"

    return json_in_html(
        {
            "ends": it.ends,
            "moments": list(it.moments),
            "logs": [escape_controls(log) for log in logs],
            "records": {name(key): record for key, record in it.records.items()},
            "figures": [
                {
                    "name": figure.name,
                    "spec": _spec(figure),
                    "marks": [
                        {
                            "id": mark.id,
                            "say": mark.say,
                            "people": mark.people,
                            "machine": mark.machine,
                            "records": [name(key) for key in mark.records],
                            "more": mark.more,
                        }
                        for mark in figure.marks
                    ],
                }
                for figure in it.figures
            ],
        }
    )


def _spec(figure: Figure) -> dict[str, Any]:
    chart = figure.chart.properties(
        width="container", autosize={"type": "fit-x", "contains": "padding"}
    )

    return {**dressed(chart, figure.data, figure.axis), "description": figure.title}


def _head(it: Contents) -> str:
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(escape_controls(value))}</dd>"
        for name, value in it.facts.items()
    )
    notes = "".join(f"<li>{html.escape(escape_controls(note))}</li>" for note in it.notes)

    return f'<dl class="facts">{rows}</dl>\n' + (f'<ul class="told">{notes}</ul>\n' * bool(notes))


def _controls(it: Contents) -> str:
    machines = list(dict.fromkeys(figure.machine for figure in it.figures if figure.machine))
    last = max(0, len(it.moments) - 1)
    buttons = "".join(
        f'<button type="button" id="window-{name}" title="{hint}">{text}</button>'
        for name, text, hint in (
            ("all", "All", "the whole log"),
            ("in", "Zoom in", "half of the time that is shown, around the moment"),
            ("out", "Zoom out", "twice the time that is shown"),
            ("earlier", "Earlier", "half a window back"),
            ("later", "Later", "half a window on"),
        )
    )

    return (
        '<nav id="controls" aria-label="What is shown"><form>\n'
        f'<label>Machine <select id="which">{_options("all machines", machines)}</select></label>\n'
        f'<label>About <select id="who">{_options("everybody", it.people)}</select></label>\n'
        f"<fieldset><legend>Time</legend>{buttons}</fieldset>\n"
        '<fieldset class="wide"><legend>Moment</legend>'
        '<button type="button" id="moment-before" title="the change before">Back</button>'
        f'<input type="range" id="moment" min="0" max="{last}" value="{last}" step="1" '
        'aria-label="Moment, change by change">'
        '<button type="button" id="moment-after" title="the next change">On</button>'
        '<output id="moment-text" for="moment"></output></fieldset>\n'
        "</form></nav>\n"
    )


def _options(every: str, names: Sequence[str]) -> str:
    rows = "".join(
        f'<option value="{html.escape(name)}">{html.escape(name)}</option>' for name in names
    )

    return f'<option value="">{every}</option>{rows}'


def _sections(it: Contents) -> Iterator[str]:
    for view, (title, text) in SECTIONS.items():
        some = [figure for figure in it.figures if figure.view == view]
        if not some:
            continue

        yield f'<section class="{view}">\n<h2>{title}</h2>\n<p class="quiet">{text}</p>\n'
        yield f'<div class="{view}s">\n'
        for figure in some:
            yield _figure(figure)

        yield "</div>\n</section>\n"

    if not it.figures:
        yield "<p>Nothing in this log can be drawn.</p>"


def _figure(figure: Figure) -> str:
    title = html.escape(escape_controls(figure.title))
    machine = html.escape(figure.machine)
    told = "".join(f"<li>{html.escape(escape_controls(it))}</li>" for it in figure.told)
    count = len(figure.marks)
    marks = (
        f"<details><summary>All {count} marks as a list</summary>"
        '<div class="mark-list"></div></details>\n'
    )

    return (
        f'<figure id="{figure.name}" data-view="{figure.view}" data-machine="{machine}">\n'
        f"<figcaption><h3>{title}</h3>"
        + (f'<ul class="told">{told}</ul>' if told else "")
        + "</figcaption>\n"
        f'<div class="chart" tabindex="0" role="application" aria-label="{title}: arrow keys go '
        'from mark to mark, Enter shows the records"><div class="drawn"></div></div>\n'
        '<p class="said" aria-live="polite"></p>\n' + (marks if count else "") + "</figure>\n"
    )


_RECORDS: Final = (
    '<aside id="records" aria-label="Records" hidden><div class="top"><strong id="records-title">'
    '</strong><button type="button" id="records-close">Close (Esc)</button></div>'
    '<div id="records-body"></div></aside>\n'
)


def _hash(script: str) -> str:
    """What a content security policy names a script by."""
    digest = hashlib.sha256(script.encode()).digest()

    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _file(name: str) -> str:
    return files("memhub.analysis.pictures").joinpath(name).read_text(encoding="utf-8")
