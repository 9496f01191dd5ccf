"""docs/clients.md: its sections, and the code blocks of each."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text("utf-8")
SECTIONS = {
    title: tuple(re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S))
    for title, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}


def recipe(title: str, *languages: str) -> tuple[str, ...]:
    """The blocks of one section. A test names all of them, so that none on the page is left out."""
    blocks = SECTIONS[title]
    assert tuple(language for language, _ in blocks) == languages, f"the blocks of {title!r} have changed"
    return tuple(text for _, text in blocks)
