"""[alerts] of an environment: the channels it makes, what is refused, secrets that stay so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from docs_pages import ROOT, TEXTS, blocks_of
from trunkline.params import ParameterError, Secret
from trunkline.streams.alerts.notification import sample_notification
from trunkline.streams.alerts.settings import AlertSettings, SmtpSettings, load_alert_settings
from trunkline.streams.check.environment import check_environment

PAGE = ROOT / "docs" / "alerts.md"
SMTP = {"host": "mail", "from": "us@example.com", "to": ["you@example.com"]}
HUSH = "hush-hush"


def load(environ: dict[str, str] | None = None, **alerts: Any) -> AlertSettings:
    return load_alert_settings({"alerts": alerts}, environ=environ or {})


def problems(environ: dict[str, str] | None = None, **alerts: Any) -> dict[str, str]:
    with pytest.raises(ParameterError) as caught:
        load(environ, **alerts)
    return caught.value.problems


def test_without_the_table_nobody_is_told() -> None:
    settings = load_alert_settings({}, environ={})
    assert settings.channels() == []
    assert settings.reminder_seconds == 4 * 3600


def test_several_channels_at_once() -> None:
    settings = load(webhook="https://a.example", slack="https://b.example/x", smtp=SMTP)
    assert [channel.name for channel in settings.channels()] == ["webhook", "slack", "smtp"]


def test_variables_win_over_the_file_also_within_the_table_of_the_mail_server() -> None:
    settings = load(
        {
            "TRUNKLINE_ALERTS_SLACK": f"https://b.example/{HUSH}",
            "TRUNKLINE_ALERTS_SMTP_PASSWORD": HUSH,
            "TRUNKLINE_ALERTS_SMTP_TO": "a@example.com, b@example.com",
            "TRUNKLINE_ALERTS_SMTP_PORT": "25",
        },
        slack="https://c.example",
        smtp=SMTP,
    )
    assert settings.slack == Secret(f"https://b.example/{HUSH}")
    assert settings.smtp is not None
    assert settings.smtp.to == ["a@example.com", "b@example.com"]
    assert (settings.smtp.port, settings.smtp.password) == (25, Secret(HUSH))


def test_a_mail_server_from_variables_alone() -> None:
    prefix = "TRUNKLINE_ALERTS_SMTP_"
    given = {"HOST": "mail", "FROM": "us@example.com", "TO": "you@example.com"}
    settings = load({prefix + name: text for name, text in given.items()})
    assert [channel.name for channel in settings.channels()] == ["smtp"]


def test_secrets_are_not_shown() -> None:
    secret = f"https://b.example/{HUSH}"
    settings = load(webhook=secret, slack=secret, webhook_token=HUSH, webhook_secret=HUSH)
    assert HUSH not in repr(settings)
    assert HUSH not in settings.model_dump_json()
    wrong = load_problems(webhook=f"ftp://{HUSH}", slack=f"http://[{HUSH}", smtp={"password": 1})
    assert HUSH not in wrong


def load_problems(**alerts: Any) -> str:
    return "\n".join(problems(**alerts).values())


@pytest.mark.parametrize(
    ("alerts", "name", "said"),
    [
        ({"webhok": "https://a.example"}, "webhok", "is unknown: take it out of [alerts]"),
        ({"webhook": "a.example"}, "webhook", "write a whole address"),
        ({"slack": "https://"}, "slack", "write a whole address"),
        ({"reminder": "sometimes"}, "reminder", "'sometimes' is not a duration"),
        ({"reminder": "0s"}, "reminder", "above zero"),
        ({"smtp": {}}, "smtp.host", "set TRUNKLINE_ALERTS_SMTP_HOST or smtp.host in [alerts]"),
        ({"smtp": {**SMTP, "to": []}}, "smtp.to", "at least 1 item"),
        ({"smtp": {**SMTP, "to": ["you"]}}, "smtp.to.0", "write an e-mail address"),
        ({"smtp": {**SMTP, "from": "a@b\nBcc: c@d"}}, "smtp.from", "write an e-mail address"),
        ({"smtp": {**SMTP, "port": 0}}, "smtp.port", "greater than or equal to 1"),
        ({"smtp": {**SMTP, "user": "u", "starttls": False}}, "smtp", "sent encrypted only"),
    ],
)
def test_what_makes_no_sense_is_refused(alerts: dict[str, Any], name: str, said: str) -> None:
    found = problems(**alerts)
    assert said in found[name]


def test_check_shows_the_line(tmp_path: Path) -> None:
    file = tmp_path / "prod.toml"
    file.write_text('[alerts]\nslack = "nowhere"\n\n[alerts.smtp]\nhost = "mail"\nprot = 25\n')
    found = check_environment([], "prod", root=tmp_path, environ={})
    lines = {problem.place.line: str(problem.message) for problem in found}
    assert "write a whole address" in lines[2]
    assert "'smtp.prot' is unknown" in lines[6]


@pytest.mark.parametrize(("model", "prefix"), [(AlertSettings, ""), (SmtpSettings, "smtp.")])
def test_each_key_is_documented_with_its_default(model: type[BaseModel], prefix: str) -> None:
    for attribute, field in model.model_fields.items():
        name = prefix + (field.alias or attribute)
        (row,) = [row for row in TEXTS[PAGE].splitlines() if row.startswith(f"| `{name}` |")]
        _, _, variable, default, *_ = (cell.strip() for cell in row.split("|"))
        is_table = name == "smtp"
        assert variable.strip("`") == (
            "" if is_table else f"TRUNKLINE_ALERTS_{name.upper().replace('.', '_')}"
        )
        value = "" if field.is_required() or field.default in (None, Secret("")) else field.default
        assert default.strip("`").lower() == str(value).lower()


def test_the_body_that_is_documented_is_the_one_that_is_sent() -> None:
    (block,) = [block for block in blocks_of(PAGE) if block.language == "json"]
    shown, sent = json.loads(block.text), sample_notification(1_700_000_000.0).to_json()
    assert list(shown) == list(sent)
    kinds = {key: type(value) for key, value in shown.items() if key not in ("amount", "error")}
    assert kinds == {key: type(value) for key, value in sent.items() if key in kinds}
