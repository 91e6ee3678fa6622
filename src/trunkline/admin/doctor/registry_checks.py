"""The schema registry: each of its addresses, what it lets us do, its rule, its clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from trunkline.admin.doctor.diagnosis import Diagnosis
from trunkline.errors import TrunklineError
from trunkline.params import Backbone
from trunkline.schemas.registry import Registry, registry_of

AREA = "registry"
SKEW_TOLD, SKEW_WRONG = 3.0, 30.0
"""Seconds between two clocks from which on it is told, and is wrong: retries come so much early or
late, and their due times are another machine's. An answer's date has whole seconds."""


def examine_registry(backbone: Backbone) -> Iterator[Diagnosis]:
    """Each address apart: a client goes on to the next one, so that one that is away is not seen.
    Blocks; changes nothing."""
    for address in backbone.registry.split(","):
        one = backbone.model_copy(update={"registry": address.strip()})
        try:
            with closing(registry_of(one)) as registry:
                yield from _at(registry, one)
        except TrunklineError as error:
            yield Diagnosis(AREA, str(error), "wrong")


def _at(registry: Registry, backbone: Backbone) -> Iterator[Diagnosis]:
    count = len(registry.subjects())
    yield Diagnosis(AREA, f"{registry.url} answers: {count} subjects{_version(registry)}")
    if (
        registry.url.startswith("http://")
        and not _is_local(registry.url)
        and (backbone.registry_password.reveal() or backbone.registry_token.reveal())
    ):
        what = f"{registry.url} is asked without TLS: whoever listens reads its password"
        yield Diagnosis(AREA, what, "warning", "give an address that begins with https://")
    yield from _rule(registry)
    yield from clock(AREA, registry.clock_ahead)


def _rule(registry: Registry) -> Iterator[Diagnosis]:
    found = registry.get("/config")
    level = found.get("compatibilityLevel") if isinstance(found, dict) else None
    if level == "NONE":
        what = "any schema may follow any other (compatibility NONE): readers can be broken"
        mend = "set BACKWARD or FULL_TRANSITIVE at the registry: PUT /config"
        yield Diagnosis(AREA, what, "warning", mend)
    elif level:
        yield Diagnosis(AREA, f"the rule for new schemas is {level}")
    mode = registry.get("/mode")
    if isinstance(mode, dict) and str(mode.get("mode", "")).startswith("READONLY"):
        what = "it is read-only: no schema can be registered"
        yield Diagnosis(AREA, what, "warning", "set its mode to READWRITE: PUT /mode")


def clock(area: str, ahead: float | None) -> Iterator[Diagnosis]:
    """What a clock is worth that is so many seconds ahead of ours."""
    if ahead is None:
        return
    # The date was cut to whole seconds: half of one is the likeliest that is missing.
    off = ahead + 0.5
    words = f"its clock is {abs(off):,.0f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    mend = "have both follow a time server (chrony, NTP)"
    if abs(off) >= SKEW_WRONG:
        yield Diagnosis(area, words, "wrong", mend)
    elif abs(off) >= SKEW_TOLD:
        yield Diagnosis(area, words, "warning", mend)
    else:
        yield Diagnosis(area, "its clock is as this machine's, to the second")


def _version(registry: Registry) -> str:
    """Its release, where it tells that, as Confluent's do."""
    found = registry.get("/v1/metadata/version")
    version = found.get("version") if isinstance(found, dict) else None
    return f", version {version}" if version else ""


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
