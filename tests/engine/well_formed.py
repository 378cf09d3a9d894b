"""Reads pages: every tag is closed, and what it loads is listed."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any


class Well(HTMLParser):
    """Finds tags that are not closed in the order they were opened, and what a page loads."""

    void = frozenset(("meta", "br"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.seen.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "action")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Well:
    """Return what a page holds; fail where it is not well formed."""
    parser = Well()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser
