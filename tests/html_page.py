"""A page as a browser reads it."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

HOSTILE = "</pre></svg><script>alert(1)</script><img src=http://x.test/ onerror=alert(1)>&amp;$\\frac$"
SVG = "{http://www.w3.org/2000/svg}"


class Page(HTMLParser):
    """What a browser makes of the file: its elements with their attributes, its text and its tables' rows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.in_row = False
        self.rows: list[list[str]] = []
        self.feed(self.source)
        self.close()
        self.svgs = [
            ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", self.source, re.DOTALL)
        ]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.in_row = True
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag == "tr":
            self.in_row = False

    def handle_data(self, data):
        self.text += data
        if self.in_row and self.rows[-1]:
            self.rows[-1][-1] += data.strip()

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def videos(self) -> list[bytes]:
        urls = [attributes["src"] or "" for tag, attributes in self.elements if tag == "video"]
        return [base64.b64decode(url.removeprefix("data:video/mp4;base64,"), validate=True) for url in urls]

    def rollout_rows(self) -> list[list[str]]:
        """Of the tables of an evaluation whose starts have places."""
        return [row for row in self.rows if len(row) == 7 and row[0].isdigit()]
