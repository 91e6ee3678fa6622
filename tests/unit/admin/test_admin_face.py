"""The room's face: what programs import, and the page that shows it."""

from __future__ import annotations

import inspect
import re

import pytest

from docs_pages import ROOT, TEXTS
from trunkline import admin

PAGE = TEXTS[ROOT / "docs" / "admin.md"]
ACTS = [name for name in admin.__all__ if inspect.isfunction(getattr(admin, name))]


def test_the_face_is_whole_and_sorted() -> None:
    assert list(admin.__all__) == sorted(admin.__all__)
    shown = {
        name
        for name, member in vars(admin).items()
        if not name.startswith("_") and not inspect.ismodule(member)
    }
    assert shown == set(admin.__all__)


@pytest.mark.parametrize("name", admin.__all__)
def test_each_public_name_is_on_the_page(name: str) -> None:
    assert re.search(rf"`{name}\b", PAGE)


@pytest.mark.parametrize("name", ACTS)
def test_each_function_says_whether_it_blocks_and_what_it_raises(name: str) -> None:
    contract = inspect.getdoc(getattr(admin, name)) or ""
    of_another = re.search(r"as\s+``(\w+)``", contract)
    if of_another:
        contract += inspect.getdoc(getattr(admin, of_another[1])) or ""
    assert re.search(r"[Bb]locks|[Yy]ield", contract)
    assert re.search(r"[Rr]aises", contract)
    assert re.search(r"[Ww]rites|Blocks\. Raises", contract)


@pytest.mark.parametrize(
    "name", [name for name in ACTS if re.match("pause|force|resume|submit|cancel|continue", name)]
)
def test_whoever_changes_something_can_be_named(name: str) -> None:
    assert inspect.signature(getattr(admin, name)).parameters["by"].default == ""
