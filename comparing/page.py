"""One self-contained HTML page: tables that sort and filter, pictures, and the data as JSON."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comparing.tables import Cell, Table

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
SCRIPT = (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


def page(
    title: str,
    *,
    about: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    pictures: Mapping[str, bytes] | None = None,
    data: Any = None,
) -> str:
    """Return a page that needs no other file and no network.

    A click on a heading sorts by it, a second one the other way round; the field above a table
    keeps the rows that hold all its words. ``#sort=TABLE,COLUMN`` in the address sorts at once.

    Arguments
    ---------
    title : str
        Heading.
    about : Sequence[tuple[str, str]]
        (name, value) lines under it: command, commit, machine.
    tables : Sequence[Table]
        Tables.
    pictures : Mapping[str, bytes] | None
        Caption -> PNG file.
    data : Any
        Plain values that go along as JSON, in the element with the id "data".

    Returns
    -------
    str
        HTML.
    """
    lines = "".join(f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in about)
    shown = "".join(_table(number, table) for number, table in enumerate(tables))
    images = "".join(_picture(caption, png) for caption, png in (pictures or {}).items())
    # "</" would end the element: JSON may write the slash escaped.
    text = json.dumps(data).replace("</", "<\\/")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_safe(title)}</title>"
        f"<style>{STYLE}</style></head><body><h1>{_safe(title)}</h1><dl>{lines}</dl>{shown}{images}"
        f'<script type="application/json" id="data">{text}</script><script>{SCRIPT}</script>'
        "</body></html>\n"
    )


def _safe(text: str) -> str:
    return html.escape(text, quote=True)


def _table(number: int, table: Table) -> str:
    head = "".join(f"<th>{_safe(name)}</th>" for name in table.header)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    return (
        f"<section><h2>{_safe(table.title)}</h2><p>{_safe(table.about)}</p>"
        f'<input type="search" placeholder="filter" aria-label="filter {_safe(table.title)}">'
        f'<table id="table-{number}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        "</section>"
    )


def _cell(cell: Cell) -> str:
    value = "" if cell.value is None else _safe(str(cell.value))
    text = _safe(cell.text)
    if cell.link is not None:
        text = f'<a href="{_safe(cell.link)}">{text}</a>'
    return f'<td data-value="{value}">{text}</td>'


def _picture(caption: str, png: bytes) -> str:
    code = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{_safe(caption)}" src="data:image/png;base64,{code}">'
        f"<figcaption>{_safe(caption)}</figcaption></figure>"
    )
