"""Secrets in others' text: none gets through, in whatever form it comes back."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import masking
from trunkline.logs import JsonFormatter, TextFormatter
from trunkline.masking import concealed, keep_secret, secrets_of_url, without_secrets
from trunkline.params import Params, Secret, load_backbone, load_params

TOKEN = "h3ad/m@rked%20 'se\"cret\\<tail9"


def basic(user: str, secret: str) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


FORMS = {
    "plain": TOKEN,
    "percent-encoded": quote(TOKEN, safe=""),
    "percent-encoded but for slashes": quote(TOKEN),
    "in a form": quote_plus(TOKEN),
    "percent-encoded in lower case": re.sub("%..", lambda f: f[0].lower(), quote(TOKEN, safe="")),
    "JSON": json.dumps({"authorization": TOKEN}),
    "JSON with escaped slashes": json.dumps({"authorization": TOKEN}).replace("/", "\\/"),
    "Python": repr(f"Bearer {TOKEN}"),
    "HTML": html.escape(f"<b>{TOKEN}</b>"),
    "base64": basic("", TOKEN),
    "base64, one character further": basic("a", TOKEN),
    "base64, two characters further": basic("ab", TOKEN),
    "base64 in JSON": json.dumps(f"Basic {basic('abc', TOKEN)}").replace("/", "\\/"),
    "base64 in a URL": quote(basic("erp", TOKEN), safe=""),
    "base64 behind other text": "header=Basic/" + basic("erp", TOKEN),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_taken_out_in_every_form(form: str) -> None:
    said = concealed(f"answered 401: {FORMS[form]}. Ask support.", [TOKEN])
    assert "***" in said
    assert "h3ad" not in said
    assert "tail9" not in said
    assert "answered 401: " in said
    assert said.endswith(" Ask support.")


@given(st.text(min_size=2, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_no_text_has_it_afterwards(secret: str, before: str, behind: str) -> None:
    if secret not in "***":
        assert secret not in concealed(before + secret + behind, [secret]).replace("***", "")


def test_text_without_secrets_stays_as_it_is() -> None:
    said = "PUT /orders/4711 answered 422: dGhpcyBpcyBiYXNlNjQ= of /a/long/path/of/parts"
    assert concealed(said, [TOKEN, "", "a"]) == said


def test_a_secret_of_odd_bytes_is_one_as_any_other() -> None:
    """Of the variable ``p\\xe4ssw0rd`` in Latin-1 Python makes a surrogate."""
    odd = b"p\xe4ssw0rd".decode(errors="surrogateescape")
    login = base64.b64encode(b"user:p\xe4ssw0rd").decode()
    assert concealed(f"a {odd} p%E4ssw0rd Basic {login}", [odd]) == "a *** *** Basic ***"
    lone = "\ud800abcdef"  # no byte's: of a program that makes its parameters itself
    assert concealed(f"a {lone} b", [lone]) == "a *** b"


def test_of_two_the_longer_one_goes_whole() -> None:
    assert concealed("key-1-and-more", ["key-1", "key-1-and-more"]) == "***"


def test_the_passwords_of_addresses() -> None:
    found = secrets_of_url("https://u:p%2Fw@one.example", "https://two.example", "sql://u@h/d")
    assert set(found) == {"p%2Fw", "p/w"}


class Env(Params):
    token: Secret
    keys: tuple[Secret, ...] = ()
    url: Secret = Secret("")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_KNOWN", {})


def test_secrets_of_parameters_are_known_to_whatever_leaves_the_process() -> None:
    load_params(
        Env,
        {"params": {"token": TOKEN, "keys": ["k3y-of-list"], "url": "sql://u:p4ss%2Fword@h/d"}},
        environ={},
    )
    load_backbone(
        {
            "trunkline": {
                "registry": "https://u:r3gistry-p@h",
                "kafka": {"sasl.password": "k4fka-p"},
            }
        },
        environ={},
    )
    said = without_secrets(f"{TOKEN} k3y-of-list p4ss%2Fword p4ss/word r3gistry-p k4fka-p")
    assert said == "*** *** *** *** *** k4fka-p"  # the last one is shorter than 8


def test_words_and_what_is_short_stay() -> None:
    keep_secret(["trunkline", "a1", "", "postgres"])
    assert without_secrets("trunkline a1 postgres") == "trunkline a1 postgres"
    keep_secret(["qWfPbJluYaRs", "correcthorsebatterystaple", "Postgres", "POSTGRES"])
    said = without_secrets("qWfPbJluYaRs correcthorsebatterystaple Postgres POSTGRES")
    assert said == "*** *** Postgres POSTGRES"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_a_log_line_shows_none_nor_does_its_traceback(formatter: logging.Formatter) -> None:
    keep_secret([TOKEN])
    try:
        raise ValueError(f"cannot parse https://api.example/?key={quote(TOKEN)}")
    except ValueError as error:
        record = logging.getLogger("x").makeRecord(
            *("x", logging.ERROR, "f", 1, "it failed with %s", (TOKEN,)),
            (ValueError, error, error.__traceback__),
        )
    line = formatter.format(record)
    assert "it failed with ***" in line
    assert "ValueError: cannot parse" in line
    assert "h3ad" not in line
    assert "tail9" not in line
