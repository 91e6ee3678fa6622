"""Findings as people and pipelines want them: text, JSON, JUnit, and GitHub's and GitLab's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from xml.sax.saxutils import escape, quoteattr

from trunkline.schemas.compatibility.project import Finding


def as_text(findings: Sequence[Finding]) -> str:
    """A paragraph a type."""
    lines: list[str] = []
    for finding in findings:
        head = f"{finding.type} ({finding.file})"
        if head not in lines:
            lines.append(head)
        lines.append(f"  {finding.rule}: {finding}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects with the fields of ``Finding``."""
    return json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False)


def as_junit(findings: Sequence[Finding]) -> str:
    """A test case a finding; those that are let through are skipped."""
    cases = []
    for finding in findings:
        name = quoteattr(f"{finding.path} {finding.rule} {finding.version}")
        kind = "skipped" if finding.exception else "failure"
        inner = f"<{kind} message={quoteattr(finding.reason)}>{escape(str(finding))}</{kind}>"
        cases.append(
            f"  <testcase classname={quoteattr(finding.type)} name={name}>{inner}</testcase>"
        )
    failed = sum(not finding.exception for finding in findings)
    head = f'<testsuite name="schemas" tests="{len(findings)}" failures="{failed}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>"])


def as_github(findings: Sequence[Finding]) -> str:
    """Workflow commands, which GitHub shows at the file."""
    return "\n".join(
        f"::{'notice' if f.exception else 'error'} file={_property(f.file)},"
        f"title={_property(f'{f.type}: {f.rule}')}::{_message(str(f))}"
        for f in findings
    )


def as_gitlab(findings: Sequence[Finding]) -> str:
    """A Code Quality report."""
    return json.dumps([_issue(finding) for finding in findings], indent=2, ensure_ascii=False)


def _issue(finding: Finding) -> dict[str, object]:
    told = f"{finding.type}: {finding.rule}: {finding}"
    return {
        "description": told,
        "check_name": f"schemas-{finding.rule}",
        "fingerprint": hashlib.sha256(told.encode()).hexdigest(),
        "severity": "info" if finding.exception else "critical",
        "location": {"path": finding.file, "lines": {"begin": 1}},
    }


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": as_text,
    "json": as_json,
    "junit": as_junit,
    "github": as_github,
    "gitlab": as_gitlab,
}
