"""Everything that keeps a source from running, asked of the server at once. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trunkline.connectors.base import Finding
from trunkline.connectors.mysql import catalog, preflight
from trunkline.connectors.mysql.names import quoted_table
from trunkline.connectors.mysql.session import Denied, Session

_STATEMENT = re.compile(r"\brun ((?:SET GLOBAL|GRANT) [^;]+;)")


def findings(session: Session, streams: Sequence[str]) -> list[Finding]:
    """What is wrong with the server's settings, the user's rights and the tables, and the
    statements that mend it; then what may become trouble."""
    server = preflight.ask(session)
    databases = sorted({stream.split(".", 1)[0] for stream in streams})
    tables, faults = catalog.described(session, streams)
    found = [*preflight.faults(session, server, databases), *faults, *_unreadable(session, tables)]
    warnings = [Finding(text, warning=True) for text in preflight.warnings(server)]
    return [*map(finding, dict.fromkeys(found)), *warnings]


def finding(fault: str) -> Finding:
    """A fault, with the statement in it that mends it, if one does."""
    statement = _STATEMENT.search(fault)
    return Finding(fault, statement[1] if statement else "")


def _unreadable(session: Session, tables: Sequence[catalog.Table]) -> Iterator[str]:
    for table in tables:
        name = quoted_table(table.stream)
        try:
            session.run(f"SELECT 1 FROM {name} LIMIT 0")
        except Denied as error:
            yield f"{error}: run GRANT SELECT ON {name} TO {table.user};"
