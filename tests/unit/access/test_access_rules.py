"""API keys and ``access.toml``: who is let in, and what an edit keeps."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster_world import process_left_as_it_was
from docs_pages import ROOT, blocks_of
from trunkline.access.file import AccessEditor, PolicyFile, load_policy, parsed_table
from trunkline.access.keys import key_id, new_key
from trunkline.cli import app
from trunkline.errors import ConfigurationError

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.toml"


def with_key(file: Path, client: str = "crm", expires: datetime | None = None) -> str:
    key = new_key()
    AccessEditor(file).add_key(client, key, now=NOW, expires=expires)
    return key.text


def test_a_client_is_known_by_its_key_and_the_file_does_not_hold_it(file: Path) -> None:
    text = with_key(file)
    client = load_policy(file).client_of(text)
    assert client is not None
    assert client.name == "crm"
    assert text.split("_")[2] not in file.read_text()


def test_keys_differ_and_have_the_form_that_scanners_look_for() -> None:
    made = {new_key().text for _ in range(100)}
    assert len(made) == 100
    assert all(text.startswith("tlk_") and key_id(text) for text in made)


def wrong(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def test_no_other_text_is_let_in(file: Path) -> None:
    text, policy = with_key(file), load_policy(file)
    others = [wrong(text, at) for at in range(len(text))]
    others += ["", "tlk_", text + "0", text[:-1], " " + text, text.upper(), "tlk_" + "é" * 87]
    others.append(new_key().text)
    # Of the same id and with right check digits: only the hash tells it from the key.
    forged = new_key().text.split("_")
    forged[1] = text.split("_")[1]
    others.append("_".join(forged))
    assert [other for other in others if policy.client_of(other)] == []


def test_a_key_is_good_until_it_expires_and_not_at_that_moment(file: Path) -> None:
    text = with_key(file, expires=NOW + timedelta(hours=1))
    policy = load_policy(file)
    assert policy.client_of(text, NOW + timedelta(minutes=59))
    assert policy.client_of(text, NOW + timedelta(hours=1)) is None


def test_two_keys_are_valid_while_they_are_exchanged_and_a_third_is_refused(file: Path) -> None:
    old, new = with_key(file), with_key(file)
    policy = load_policy(file)
    assert policy.client_of(old)
    assert policy.client_of(new)
    with pytest.raises(ConfigurationError, match="revoke one first"):
        with_key(file)
    AccessEditor(file).revoke(key_id(old))
    assert load_policy(file).client_of(old) is None
    assert load_policy(file).client_of(new)


def test_an_expired_key_does_not_count_among_the_two(file: Path) -> None:
    with_key(file, expires=NOW - timedelta(days=1))
    with_key(file)
    with_key(file)


@pytest.mark.parametrize(
    ("pattern", "may", "may_not"),
    [
        ("erp/correct_order", ["erp/correct_order"], ["erp/correct_orders", "wms/correct_order"]),
        ("erp/*", ["erp/a", "erp/b"], ["erp2/a", "xerp/a"]),
        ("*/get_*", ["erp/get_order", "wms/get_"], ["erp/set_order"]),
    ],
)
def test_a_right_is_a_pattern(file: Path, pattern: str, may: list[str], may_not: list[str]) -> None:
    text = with_key(file)
    AccessEditor(file).allow("crm", pattern)
    client = load_policy(file).client_of(text)
    assert client is not None
    assert [name for name in may if not client.may_call(*name.split("/"))] == []
    assert [name for name in may_not if client.may_call(*name.split("/"))] == []


def test_a_new_client_may_call_nothing(file: Path) -> None:
    client = load_policy(file).client_of(with_key(file)) if file.exists() else None
    text = with_key(file, "other")
    client = load_policy(file).client_of(text)
    assert client is not None
    assert not client.may_call("erp", "anything")


def test_an_edit_keeps_comments_order_and_the_files_mode(file: Path) -> None:
    file.write_text('# ours\n[clients.wms] # the warehouse\ncall = ["erp/*"] # all of it\n')
    file.chmod(0o640)
    with_key(file, "crm")
    text = with_key(file, "wms")
    AccessEditor(file).allow("wms", "crm/*")
    AccessEditor(file).deny("wms", "erp/*")
    AccessEditor(file).revoke(key_id(text))
    left = file.read_text()
    assert "# ours" in left
    assert "# the warehouse" in left
    assert left.index("clients.wms") < left.index("clients.crm")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in file.parent.iterdir()] == ["access.toml"]
    assert load_policy(file).clients["wms"].call == ["crm/*"]


def test_a_change_is_followed_and_a_broken_file_keeps_who_was_let_in(file: Path) -> None:
    text = with_key(file)
    followed = PolicyFile(file)
    assert not followed.refresh()
    file.write_text("[clients")
    assert followed.refresh()
    assert "no TOML" in followed.trouble
    assert not followed.refresh(), "it is told once"
    assert followed.policy.client_of(text)
    file.write_text("")
    os.utime(file, ns=(1, 1))  # however coarse the clock of the file system is
    assert followed.refresh()
    assert (followed.trouble, followed.policy.client_of(text)) == ("", None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("clients = 1", "clients"),
        ("[clients.crm]\ncalls = []", "calls"),
        ('[clients.crm]\ncall = ["erp"]', "SYSTEM/OPERATION"),
        ('[[clients.crm.keys]]\nid = "x"\nsha256 = "secret"', "keys.0.id"),
        ('[[clients.crm.keys]]\nid = "aaaaaaaaaaaa"\nsha256 = "secret"', "keys.0.sha256"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_and_no_value_shown(
    file: Path, text: str, says: str
) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=says) as raised:
        load_policy(file)
    assert "secret" not in str(raised.value)


def test_a_key_that_two_clients_have_is_refused(file: Path) -> None:
    key = f'id = "aaaaaaaaaaaa"\nsha256 = "{"0" * 64}"\n'
    file.write_text(f"[[clients.a.keys]]\n{key}[[clients.b.keys]]\n{key}")
    with pytest.raises(ConfigurationError, match="twice"):
        load_policy(file)


def run(*arguments: str, file: Path) -> str:
    done = CliRunner().invoke(app, ["access", *arguments, "--file", str(file)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_commands_make_show_and_take_away(file: Path) -> None:
    text = run("issue", "crm", "--expires", "90d", file=file).split()[0]
    run("allow", "crm", "erp/*", file=file)
    shown = run("list", file=file)
    assert "crm: may call erp/*" in shown
    assert f"key {key_id(text)}, made " in shown
    assert "good until" in shown
    assert text.split("_")[2] not in shown
    run("deny", "crm", "erp/*", file=file)
    assert "may call nothing" in run("list", file=file)
    run("revoke", key_id(text), file=file)
    assert "key" not in run("list", file=file)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["allow", "nobody", "erp/*"], "no client"),
        (["allow", "crm", "erp"], "SYSTEM/OPERATION"),
        (["deny", "crm", "erp/*"], "no pattern"),
        (["revoke", "aaaaaaaaaaaa"], "no key"),
        (["issue", "a b"], "a name has"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(
    file: Path, arguments: list[str], says: str
) -> None:
    with_key(file)
    before = file.read_text()
    with pytest.raises(ConfigurationError, match=says):
        run(*arguments, file=file)
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["x = " + "9" * 5000, "x = " + "[" * 20_000])
def test_a_file_that_the_parser_gives_up_is_left_aside_like_any_other(
    file: Path, text: str
) -> None:
    with_key(file)
    followed = PolicyFile(file)
    file.write_text(text)
    assert followed.refresh()
    assert followed.trouble


def test_a_name_with_a_lines_end_is_no_clients(file: Path) -> None:
    """With one, two clients could share ids of calls, and so answers."""
    file.write_text('[clients."a\\nb"]\n')
    with pytest.raises(ConfigurationError, match="a name has"):
        load_policy(file)


def test_of_two_who_edit_at_once_the_second_is_told(file: Path) -> None:
    """Else a key that the first has revoked would be good again."""
    text = with_key(file)
    late = AccessEditor(file)
    AccessEditor(file).revoke(key_id(text))
    with pytest.raises(ConfigurationError, match="changed meanwhile"):
        late.allow("crm", "erp/*")
    assert load_policy(file).client_of(text) is None


def test_what_the_page_shows_can_be_in_a_file(tmp_path: Path) -> None:
    shown = [b for b in blocks_of(ROOT / "docs" / "access.md") if b.language == "toml"]
    assert len(shown) >= 4
    for block in shown:
        assert parsed_table(tmp_path / "access.toml", block.text), str(block)


def test_a_client_without_limits_has_none_and_others_are_shown(file: Path) -> None:
    with_key(file)
    file.write_text("[clients.shop]\nquota = {per_second = 5, per_day = 10}\n" + file.read_text())
    policy = load_policy(file)
    assert policy.clients["crm"].quota.words() == "no limit"
    shown = CliRunner().invoke(app, ["access", "list", "--file", str(file)]).output
    assert "shop: may call nothing; 5 per second, 10 per day" in shown


@pytest.mark.parametrize("quota", ["{}", "{per_second = 10001}", "{per_day = 0}", "{per_hour = 1}"])
def test_limits_that_cannot_be(file: Path, quota: str) -> None:
    file.write_text(f"[clients.shop]\nquota = {quota}\n")
    if quota == "{}":
        assert load_policy(file).clients["shop"].quota.words() == "no limit"
        return
    with pytest.raises(ConfigurationError, match=r"clients\.shop\.quota\.per_"):
        load_policy(file)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["--per-second", "1"], "name the client"),
        (["crm", "--per-second", "1", "--clear"], "leave the others out"),
    ],
)
def test_a_change_of_limits_that_is_none_is_refused(command: list[str], told: str) -> None:
    with process_left_as_it_was(), pytest.raises(ConfigurationError, match=told):
        CliRunner().invoke(app, ["access", "quota", *command], catch_exceptions=False)
