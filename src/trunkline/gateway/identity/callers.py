"""The client of a request, by what its ``Authorization`` header bears."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from trunkline.access.keys import PREFIX
from trunkline.access.policy import AccessPolicy, Client
from trunkline.gateway.identity.jwks import IssuerKeys
from trunkline.gateway.identity.tokens import BadToken, Claimed, believed, claimed
from trunkline.gateway.problems import Problem
from trunkline.tasks import supervised_task

log = logging.getLogger(__name__)


class Callers:
    """For the event loop. ``policy``: the newest one; ``clock``: epoch seconds; ``failed``: told of
    what ends the fetching of keys."""

    def __init__(
        self,
        policy: Callable[[], AccessPolicy],
        clock: Callable[[], float],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._failed = failed
        self._keys: dict[str, tuple[IssuerKeys, asyncio.Task[None]]] = {}

    async def client_of(self, header: str) -> Client:
        """The client. Raises Problem: whatever is wrong with a key or a token is told alike."""
        scheme, _, text = header.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer":
            raise _unauthorized()
        if text.startswith(f"{PREFIX}_"):
            client = self._policy().client_of(text)
            if client is None:
                raise _unauthorized()
            return client
        try:
            return await self._client_of_token(claimed(text))
        except BadToken as bad:
            log.debug("a token is refused: %s", bad)
            raise _unauthorized() from None

    async def _client_of_token(self, token: Claimed) -> Client:
        policy = self._policy()
        found = next((one for one in self._keys.values() if _is_of(one[0], token)), None)
        if found is None or found[0].name not in policy.issuers:
            raise BadToken("no issuer of the file has issued it")
        keys, _ = found
        if token.algorithm not in keys.entry.algorithms:
            raise BadToken("it is signed in another way")
        key = await keys.find(token.kid)
        if key is None and not keys.is_known:
            told = "the keys of the token's issuer cannot be fetched"
            raise Problem("not-ready", told, headers={"Retry-After": "10"})
        if key is None:
            raise BadToken("its issuer has no such key")
        said = believed(token, keys.entry, key, self._clock)
        return policy.client_of_token(keys.name, said.subject, said.roles)

    def follow(self) -> None:
        """Fetch the keys of the issuers that the policy has now. In the event loop; to be called
        when it may have changed."""
        wanted = self._policy().issuers
        for name, (keys, task) in list(self._keys.items()):
            if wanted.get(name) != keys.entry:
                task.cancel()
                del self._keys[name]
        for name, entry in wanted.items():
            if name not in self._keys:
                keys = IssuerKeys(name, entry, asyncio.get_running_loop().time)
                task = supervised_task(keys.keep(), f"keys-{name}", self._failed)
                self._keys[name] = keys, task

    def ages(self) -> dict[str, float | None]:
        """How many seconds ago the keys of each issuer were fetched; None: never yet."""
        return {name: keys.age for name, (keys, _) in self._keys.items()}

    async def stop(self) -> None:
        """Fetch nothing more."""
        tasks = [task for _, task in self._keys.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_of(keys: IssuerKeys, token: Claimed) -> bool:
    return keys.entry.issuer == token.issuer


def _unauthorized() -> Problem:
    return Problem(
        "unauthorized",
        "send Authorization: Bearer and an API key, or a token of an issuer that is known here",
        headers={"WWW-Authenticate": "Bearer"},
    )
