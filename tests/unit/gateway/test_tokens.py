"""Tokens of issuers: which are believed, what their clients may do, and how their keys are kept;
against a real server of keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import ECKey

from issuer_kit import Issuer
from trunkline.access.file import load_policy
from trunkline.access.policy import AccessPolicy
from trunkline.errors import ConfigurationError
from trunkline.gateway.identity import jwks
from trunkline.gateway.identity.callers import Callers
from trunkline.gateway.identity.jwks import IssuerKeys, keys_of
from trunkline.gateway.problems import Problem


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


def file_of(issuer: Issuer, folder: Path, more: str = "") -> AccessPolicy:
    file = folder / "access.toml"
    file.write_text(
        f"""
[issuers.corp]
issuer = "{issuer.url}"
audience = "trunkline"
roles = "realm_access.roles"
{more}
[issuers.corp.quota]
per_second = 7

[roles.order-desk]
call = ["erp/correct_*"]

[roles.lead]
call = ["*/get_*"]
resolve = ["erp/*"]
"""
    )
    return load_policy(file)


@asynccontextmanager
async def calling(policy: AccessPolicy) -> AsyncIterator[Callers]:
    failures: list[BaseException] = []
    callers = Callers(lambda: policy, time.time, failures.append)
    callers.follow()
    try:
        yield callers
    finally:
        await callers.stop()
        assert failures == []


async def refused(callers: Callers, text: str) -> tuple[int, bytes, dict[str, str]]:
    """What a bad token is answered."""
    with pytest.raises(Problem) as problem:
        await callers.client_of(f"Bearer {text}")
    answer = problem.value.response()
    return answer.status_code, bytes(answer.body), dict(answer.headers)


def test_a_token_is_believed_and_its_roles_say_what_its_client_may_do(
    issuer: Issuer, tmp_path: Path
) -> None:
    async def run() -> None:
        async with calling(file_of(issuer, tmp_path)) as callers:
            client = await callers.client_of("Bearer " + issuer.token())
            assert client.name == "corp:alice"
            assert client.may_call("erp", "correct_order")
            assert not client.may_call("erp", "get_order")
            assert client.quota.per_second == 7
            both = {"roles": ["lead", "order-desk", "unknown", 7]}
            lead = await callers.client_of("bearer " + issuer.token("bob", realm_access=both))
            assert lead.may_call("wms", "get_stock")
            assert lead.may_resolve("erp", "correct_order")
            assert lead.roles >= {"lead", "order-desk"}
            for none in ({}, {"roles": {"a": 1}}, ["order-desk"], "order-desk"):
                other = await callers.client_of("Bearer " + issuer.token(realm_access=none))
                assert other.call == ()

    asyncio.run(run())


def test_names_of_roles_may_stand_in_one_text_and_the_client_in_another_claim(
    issuer: Issuer, tmp_path: Path
) -> None:
    policy = file_of(issuer, tmp_path)
    text = (tmp_path / "access.toml").read_text().replace("realm_access.roles", "scope")
    (tmp_path / "access.toml").write_text(text.replace("audience", 'client = "azp"\naudience'))
    policy = load_policy(tmp_path / "access.toml")

    async def run() -> None:
        async with calling(policy) as callers:
            token = issuer.token(azp="batch", scope="openid order-desk")
            client = await callers.client_of("Bearer " + token)
            assert (client.name, client.call) == ("corp:batch", ("erp/correct_*",))

    asyncio.run(run())


def _signed_with(key: Any, algorithm: str, issuer: Issuer, **header: Any) -> str:
    claims = {"iss": issuer.url, "aud": "trunkline", "sub": "eve", "exp": int(time.time()) + 99}
    return jwt.encode({"alg": algorithm, "kid": "k1", **header}, claims, key, [algorithm])


def _unsigned(issuer: Issuer, algorithm: str) -> str:
    _, payload, signature = issuer.token().split(".")
    signature = "" if algorithm == "none" else signature
    return f"{_part({'alg': algorithm, 'kid': 'k1'})}.{payload}.{signature}"


def _by_public_key(issuer: Issuer) -> str:
    """HS256, with the issuer's public key for a secret: whoever takes one for the other is lost."""
    public = issuer.keys["k1"].as_pem(private=False)  # type: ignore[call-arg]
    # The library that makes tokens here refuses it, too.
    header, claims = {"alg": "HS256", "kid": "k1"}, {"iss": issuer.url, "sub": "eve"}
    signed = f"{_part(header)}.{_part(claims)}"
    digest = hmac.digest(public, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _with_header(issuer: Issuer, **more: Any) -> str:
    """Rightly signed, whatever stands in its header."""
    _, payload, _ = issuer.token().split(".")
    signed = f"{_part({'alg': 'ES256', 'kid': 'k1', **more})}.{payload}"
    key: Any = issuer.keys["k1"]
    der = key.raw_value.sign(signed.encode(), ECDSA(SHA256()))
    signature = b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(der))
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _changed(issuer: Issuer) -> str:
    head, payload, signature = issuer.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "root"
    return f"{head}.{_part(claims)}.{signature}"


BAD: dict[str, Callable[[Issuer], str]] = {
    "none": lambda i: _unsigned(i, "none"),
    "None": lambda i: _unsigned(i, "None"),
    "another algorithm": lambda i: _unsigned(i, "RS256"),
    "the public key as a secret": _by_public_key,
    "another's key": lambda i: _signed_with(ECKey.generate_key("P-256"), "ES256", i),
    "a key in the header": lambda i: _signed_with(
        key := ECKey.generate_key("P-256"), "ES256", i, jwk=key.as_dict(private=False)
    ),
    "a changed payload": _changed,
    "aud": lambda i: i.token(aud="other"),
    "aud in a list": lambda i: i.token(aud=["other", "trunkline2"]),
    "no aud": lambda i: i.token(aud=None),
    "iss": lambda i: i.token(iss="https://elsewhere.example"),
    "iss that begins so": lambda i: i.token(iss=i.url + "/"),
    "no iss": lambda i: i.token(iss=None),
    "exp a second ago": lambda i: i.token(exp=int(time.time()) - 1),
    "no exp": lambda i: i.token(exp=None),
    "exp is a text": lambda i: i.token(exp="9999999999"),
    "exp is infinite": lambda i: i.token(exp=float("inf")),
    "not yet": lambda i: i.token(nbf=int(time.time()) + 60),
    "crit": lambda i: _with_header(i, crit=["exp"]),
    "crit of nothing": lambda i: _with_header(i, crit=[]),
    "crit of a library": lambda i: _with_header(i, crit=["b64"], b64=True),
    "no such key": lambda i: i.token(header={"kid": "k2"}),
    "kid is a number": lambda i: _with_header(i, kid=1),
    "no sub": lambda i: i.token(sub=None),
    "a sub with a line's end": lambda i: i.token("a\nb"),
    "a sub with a blank": lambda i: i.token("a b"),
    "a long sub": lambda i: i.token("a" * 201),
    "a sub that is a number": lambda i: i.token(sub=7),
    "a megabyte": lambda i: i.token(more="x" * 1_000_000),
    "a megabyte of dots": lambda i: "." * 1_000_000,
    "deep": lambda i: "e30." + base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30",
    "nothing": lambda i: "",
    "two parts": lambda i: "a.b",
    "four parts": lambda i: i.token() + ".a",
    "no base64": lambda i: "!.!.!",
    "not ASCII": lambda i: i.token()[:-1] + "é",
    "an API key": lambda i: "tlk_q8w3r5t7z2x4_" + "0" * 64 + "_00000000",
}


def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(
    issuer: Issuer, tmp_path: Path
) -> None:
    async def run() -> None:
        async with calling(file_of(issuer, tmp_path)) as callers:
            await callers.client_of("Bearer " + issuer.token())
            answers = {name: await refused(callers, make(issuer)) for name, make in BAD.items()}
            assert {status for status, *_ in answers.values()} == {401}
            assert len({str(answer) for answer in answers.values()}) == 1, answers
            for good in (issuer.token("ok"), _with_header(issuer), _with_header(issuer, x5t="a")):
                assert (await callers.client_of("Bearer " + good)).name.startswith("corp:")

    asyncio.run(run())


def test_keys_that_there_never_were_are_asked_for_once_in_a_cooldown(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And who has a good token waits for none of it; a new key is known after a cooldown."""
    monkeypatch.setattr(jwks, "COOLDOWN", 1.0)

    async def run() -> None:
        async with calling(file_of(issuer, tmp_path)) as callers:
            good, begun = issuer.token(), time.monotonic()
            await callers.client_of("Bearer " + good)
            for _ in range(5):
                many = [issuer.token(header={"kid": uuid.uuid4().hex}) for _ in range(60)]
                answers = await asyncio.gather(*(refused(callers, text) for text in many))
                assert {status for status, *_ in answers} == {401}
                assert (await callers.client_of("Bearer " + good)).name == "corp:alice"
            assert 1 <= issuer.asked <= 1 + (time.monotonic() - begun) / 1.0 + 1
            issuer.rotate("k2", rsa=True)
            until = time.monotonic() + 30
            while True:
                try:
                    client = await callers.client_of("Bearer " + issuer.token())
                    break
                except Problem:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.05)
            assert client.name == "corp:alice"
            await refused(callers, good)  # its key is gone

    asyncio.run(run())


async def eventually(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  # what is waited for tells nobody
            await asyncio.sleep(0.01)


def test_while_the_issuer_is_away_its_known_keys_are_good_for_a_day(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "COOLDOWN", 0.1)
    monkeypatch.setattr(jwks, "TTL", 0.2)
    policy, ahead = file_of(issuer, tmp_path), 0.0

    async def run() -> None:
        nonlocal ahead
        keys = IssuerKeys("corp", policy.issuers["corp"], lambda: time.monotonic() + ahead)
        keeping = asyncio.create_task(keys.keep())
        assert await keys.find("k1") is not None
        issuer.status = 500
        await eventually(lambda: keys.trouble)
        assert "answered 500" in keys.trouble
        ahead = 3600.0
        assert await keys.find("k1") is not None
        ahead = 86_500.0
        assert await keys.find("k1") is None
        assert not keys.is_known
        issuer.status = 200
        await eventually(lambda: keys.is_known)
        assert keys.trouble == ""
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    asyncio.run(run())


def test_while_no_key_of_an_issuer_is_known_its_clients_are_to_come_again(
    issuer: Issuer, tmp_path: Path
) -> None:
    issuer.status = 503

    async def run() -> None:
        async with calling(file_of(issuer, tmp_path)) as callers:
            status, _, headers = await refused(callers, issuer.token())
            assert (status, headers["retry-after"]) == (503, "10")
            other = await refused(callers, issuer.token(iss="https://elsewhere.example"))
            assert other[0] == 401

    asyncio.run(run())


def test_an_issuer_that_is_taken_out_of_the_file_is_believed_no_more(
    issuer: Issuer, tmp_path: Path
) -> None:
    async def run() -> None:
        policy = file_of(issuer, tmp_path)
        callers = Callers(lambda: policy, time.time, lambda failure: None)
        callers.follow()
        await callers.client_of("Bearer " + issuer.token())
        (tmp_path / "access.toml").write_text("")
        policy = load_policy(tmp_path / "access.toml")
        assert (await refused(callers, issuer.token()))[0] == 401
        callers.follow()
        assert callers.ages() == {}
        await callers.stop()

    asyncio.run(run())


def test_keys_that_sign_nothing_of_ours_are_left_out() -> None:
    good = ECKey.generate_key("P-256")
    document = {
        "keys": [
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
            {**good.as_dict(private=True), "kid": "private"},
            {**good.as_dict(private=False), "kid": "encrypts", "use": "enc"},
            {"kty": "RSA", "kid": "small", "n": "v" * 171, "e": "AQAB"},
            {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
            {"kty": "ML-DSA", "kid": "of tomorrow"},
            "no key",
            {**good.as_dict(private=False), "kid": "good"},
        ]
    }
    assert [*keys_of(document)] == ["good"]
    for none in ({}, {"keys": {}}, {"keys": []}, {"keys": document["keys"][:-1]}):
        with pytest.raises(ConfigurationError, match="no key"):
            keys_of(none)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (('audience = "trunkline"', ""), "issuers.corp.audience"),
        (('audience = "trunkline"', 'audience = ""'), "issuers.corp.audience"),
        (("http://127.0.0.1", "http://login.example.com"), "must begin with https"),
        (("audience", 'algorithms = ["HS256"]\naudience'), "HS256: take of RS256"),
        (("audience", "algorithms = []\naudience"), "issuers.corp.algorithms"),
        (("realm_access.roles", "realm_access..roles"), "issuers.corp.roles"),
        (("[issuers.corp]", '[issuers."a b"]'), "a name has up to 100"),
        (('"erp/correct_*"', '"erp"'), "roles.order-desk.call"),
        (("per_second = 7", "per_second = 0"), "issuers.corp.quota.per_second"),
        (("per_second = 7", 'per_second = "7"'), "issuers.corp.quota.per_second"),
    ],
)
def test_what_a_file_may_not_say_of_issuers(
    issuer: Issuer, tmp_path: Path, changed: tuple[str, str], told: str
) -> None:
    file_of(issuer, tmp_path)
    file = tmp_path / "access.toml"
    text = file.read_text().replace(*changed)
    if changed[0] == "[issuers.corp]":
        text = text.replace("[issuers.corp.quota]", '[issuers."a b".quota]')
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=told):
        load_policy(file)
