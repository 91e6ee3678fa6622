"""Makes Python types from ``.avsc`` files, and says which of them are stale."""

from __future__ import annotations

from pathlib import Path

from trunkline.errors import ConfigurationError
from trunkline.schemas.generate.render import GENERATED, module
from trunkline.schemas.generate.sources import Domain, read_domains


def generate(source: Path, into: Path) -> list[Path]:
    """Write ``into/<domain>.py`` for each ``source/<domain>/*.avsc``, remove modules of domains
    that are gone, and return what was changed.

    Raises ConfigurationError naming the file that is wrong, and writes nothing then; also rather
    than overwrite a file that it has not made.
    """
    changed = stale(source, into)
    texts = render(source)
    for path in changed:
        if path.name in texts:
            path.write_text(texts[path.name], "utf-8")
        else:
            path.unlink()
    return changed


def stale(source: Path, into: Path) -> list[Path]:
    """The files that ``generate`` would change. Raises ConfigurationError as it does."""
    texts = render(source)
    for name in texts:
        _refuse_foreign(into / name)
    changed = [into / name for name, text in texts.items() if _text(into / name) != text]
    gone = [path for path in into.glob("*.py") if path.name not in texts and _is_ours(path)]
    return sorted(changed + gone)


def render(source: Path) -> dict[str, str]:
    """The modules' texts by file name; the same schemas give the same texts, byte for byte."""
    domains = read_domains(source)
    return {f"{domain.name}.py": _text_of(domain, source) for domain in domains}


def _text_of(domain: Domain, source: Path) -> str:
    text = module(domain, source.resolve().name)
    try:
        compile(text, f"{domain.name}.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigurationError(
            f"{source / domain.name}: Python does not take the module that it would be: {error}"
        ) from error
    return text


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not _is_ours(path):
        raise ConfigurationError(
            f"{path} was not generated and would be overwritten: rename it, or the domain"
        )


def _is_ours(path: Path) -> bool:
    return GENERATED in _text(path)[:300]


def _text(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""
