"""What ``trunkline init`` and ``trunkline connector new`` share: names, templates, new files."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from importlib import resources
from pathlib import Path

from trunkline.errors import ConfigurationError

_MODULE = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = {"trunkline", "pytest"}


def check_module(name: str, taken: Collection[str] = (), example: str = "legacy_erp") -> None:
    """Refuse a name that no module can have, or that would hide another module: one of Python's
    own, ours, or of ``taken``. Raises ConfigurationError."""
    if not _MODULE.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is no name of a module: write one as {example}")
    if name in sys.stdlib_module_names or name in _TAKEN or name in taken:
        raise ConfigurationError(
            f"{name!r} is a module already, which yours would hide: name it otherwise, as my_{name}"
        )


def rendered(template: str, words: Mapping[str, str]) -> str:
    """A template's text, with a text for each of ``words``, as ``__NAME__``."""
    folder = resources.files("trunkline.cli").joinpath("templates")
    text = folder.joinpath(template).read_text("utf-8")
    for word, meant in words.items():
        text = text.replace(word, meant)
    return text


def occupied(into: Path, files: Collection[str]) -> list[str]:
    """Those of the files whose place is taken: something is there (also a link that leads nowhere,
    through which one would write elsewhere), or a part of the way is a file."""
    return [
        file
        for file in files
        if any(_is_there(into / part) for part in (Path(file), *_files_on_the_way(into, file)))
    ]


def write_new(into: Path, files: Mapping[str, str]) -> Iterator[Path]:
    """Write files that are not there yet, and their folders; yields each when it is written.

    Never overwrites: what has come meanwhile is left, and is a ConfigurationError, as is a file
    that cannot be written.
    """
    for file, text in files.items():
        path = into / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8", newline="\n") as new:
                new.write(text)
        except FileExistsError:
            raise ConfigurationError(f"{path} is there already: it is left as it is") from None
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
        yield path


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _files_on_the_way(into: Path, file: str) -> Iterator[Path]:
    for parent in Path(file).parents:
        if (into / parent).is_file():
            yield parent
