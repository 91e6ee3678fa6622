"""The documentation as tests see it: its pages, their examples, and the commands in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text() for page in PAGES}

_FENCED = re.compile(r'^```(\w*)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block. ``title``: the file that a reader saves it as."""

    page: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def commands(self) -> list[str]:
        """A bash block's commands, a line each."""
        joined = self.text.replace("\\\n", " ").splitlines()
        return [line for line in joined if line.strip() and not line.startswith("#")]

    def __str__(self) -> str:
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """A page as a person names it."""
    return str(page.relative_to(ROOT))


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page."""
    text = TEXTS[page]
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, *found.groups(default=""))
        for found in _FENCED.finditer(text)
    ]


def blocks(language: str) -> list[Block]:
    """Every fenced block of a language."""
    return [block for page in PAGES for block in blocks_of(page) if block.language == language]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", TEXTS[page])


def words(command: str) -> list[str]:
    """A command as the shell splits it, without its comment, a pipe or a redirection."""
    split = shlex.split(command, comments=True)
    return list(takewhile(lambda word: word not in (">", "|", "&&"), split))
