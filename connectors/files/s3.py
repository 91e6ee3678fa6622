"""S3 as a store of files, by aiobotocore: each look asks the store, nothing is cached."""

from __future__ import annotations

import hashlib
import posixpath
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from typing import Any, BinaryIO, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader

from trunkline.connectors.files.calls import Calls, Patience, patience
from trunkline.connectors.files.folder import State
from trunkline.connectors.files.lines import Stopped, Truncated
from trunkline.connectors.files.places import S3
from trunkline.connectors.files.remote import Entry, beside
from trunkline.errors import SourceError
from trunkline.params import revealed
from trunkline.times import parse_duration

T = TypeVar("T")

_CHUNK = 1 << 20
_CONNECT_SECONDS = 10
FAILURES = (BotoCoreError, HttpError, OSError, TimeoutError)
"""What a call raises where there is no answer."""


class S3Store:
    """A ``Store`` in a bucket."""

    def __init__(self, place: S3) -> None:
        self._place = place
        self._timeout = parse_duration(place.timeout)
        self._calls = Calls()
        self._held = AsyncExitStack()
        self._client: Any = None
        self._tags: dict[str, str] = {}  # by name, as of the last look
        self.root = place.folder
        self.url = f"s3://{place.bucket}/{place.folder}".rstrip("/")

    def list(self, recursive: bool, skipped: str, stop: threading.Event) -> Sequence[Entry]:
        """See Store."""
        try:
            return self._run(self._list(recursive, skipped), stop, "cannot be listed")
        except OSError as error:
            raise SourceError(f"{self.url} cannot be listed: {error.strerror}") from error

    def fetch(self, file: Entry, into: BinaryIO, stop: threading.Event) -> None:
        """See Store. The store gives only the object of the ETag that was listed."""
        self._run(self._fetch(file, into), stop, f"{file.name} cannot be read")

    def is_same(self, file: Entry, stop: threading.Event) -> bool:
        """See Store."""
        head = self._run(self._head(self._key(file.name)), stop, f"{file.name} cannot be seen")
        return head is not None and head["ETag"] == self._tags.get(file.name)

    def move(self, name: str, path: str, digest: str, stop: threading.Event) -> None:
        """See Store: a copy within the store, and then the original is deleted."""
        self._run(self._move(name, path.lstrip("/"), digest), stop, f"{name} cannot be moved")

    def delete(self, name: str, stop: threading.Event) -> None:
        """See Store."""
        call = self._call("delete_object", Key=self._key(name))
        self._run(call, stop, f"{name} cannot be deleted")

    def close(self) -> None:
        """See Store."""
        self._forget()
        self._calls.close()

    def _key(self, name: str) -> str:
        return posixpath.join(self.root, name)

    def _run(self, call: Coroutine[Any, Any, T], stop: threading.Event, what: str) -> T:
        """The call's result. An answer about one object becomes an OSError, anything else a
        SourceError."""
        try:
            return self._calls.run(call, stop)
        except ClientError as error:
            answered = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            code = error.response.get("Error", {}).get("Code", "")
            if answered == 412:
                raise Truncated from error
            if answered == 404 and code != "NoSuchBucket":
                raise FileNotFoundError(2, "no such object", what) from error
            if answered == 403:
                raise PermissionError(13, f"the store refuses it ({code})", what) from error
            raise SourceError(f"{self.url}: {what}: {error}") from error
        except FAILURES as error:
            self._forget()
            said = str(error) or f"silent for {self._place.timeout}"
            raise SourceError(f"{self.url}: {what}: {said}") from error
        except Stopped:
            self._forget()
            raise

    def _forget(self) -> None:
        """Drop all connections."""
        if self._client is not None:
            self._client = None
            self._calls.run(self._held.aclose(), threading.Event())

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[tuple[Any, Patience]]:
        if self._client is None:
            self._client = await self._held.enter_async_context(client_of(self._place))
        async with patience(self._timeout) as waiting:
            yield self._client, waiting

    async def _call(self, name: str, **arguments: Any) -> Any:
        async with self._opened() as (client, _):
            return await getattr(client, name)(Bucket=self._place.bucket, **arguments)

    async def _list(self, recursive: bool, skipped: str) -> Sequence[Entry]:
        prefix = f"{self.root}/" if self.root else ""
        found = []
        self._tags = {}
        more: dict[str, str] = {} if recursive else {"Delimiter": "/"}
        while True:
            page = await self._call("list_objects_v2", Prefix=prefix, **more)
            for item in page.get("Contents", ()):
                name = item["Key"][len(prefix) :]
                if name.endswith("/") or not name or _is_below(item["Key"], skipped):
                    continue
                self._tags[name] = item["ETag"]
                found.append(Entry(name, _state(item["Size"], item["LastModified"], item["ETag"])))
            if not page.get("IsTruncated"):
                return found
            more["ContinuationToken"] = page["NextContinuationToken"]

    async def _fetch(self, file: Entry, into: BinaryIO) -> None:
        async with self._opened() as (client, waiting):
            answer = await client.get_object(
                Bucket=self._place.bucket,
                Key=self._key(file.name),
                IfMatch=self._tags.get(file.name, ""),
            )
            left = file.state.size
            async with answer["Body"] as body:
                while left and (chunk := await body.read(min(_CHUNK, left))):
                    waiting.heard()
                    into.write(chunk)
                    left -= len(chunk)
            if left:
                raise Truncated

    async def _head(self, key: str) -> Any:
        try:
            return await self._call("head_object", Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise

    async def _move(self, name: str, target: str, digest: str) -> None:
        key = self._key(name)
        if await self._head(target) is not None:
            target = beside(target, digest)
        await self._call(
            "copy_object",
            Key=target,
            CopySource={"Bucket": self._place.bucket, "Key": key},
            CopySourceIfMatch=self._tags[name],
        )
        # Not every store knows that condition. What is the same behind the copy was so before it.
        head = await self._head(key)
        if head is None:  # somebody else has taken it away: what is in the archive is all there is
            return
        if head["ETag"] != self._tags[name]:
            await self._call("delete_object", Key=target)
            raise Truncated
        await self._call("delete_object", Key=key)


def client_of(place: S3) -> Any:
    """A client of the store, as an asynchronous context manager."""
    seconds = parse_duration(place.timeout)
    config = AioConfig(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=seconds,
        retries={"total_max_attempts": 2, "mode": "standard"},
        s3={"addressing_style": "path" if place.endpoint else "auto"},
        # Stores other than AWS refuse the checksums that AWS's clients send of themselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    named: dict[str, Any] = {}
    if place.access_key is not None and place.secret_key is not None:
        named["aws_access_key_id"] = revealed(place.access_key)
        named["aws_secret_access_key"] = revealed(place.secret_key)
    session = get_session()
    session.register_component("data_loader", _models())
    return session.create_client(
        "s3",
        endpoint_url=place.endpoint or None,
        region_name=place.region or ("us-east-1" if place.endpoint else None),
        config=config,
        **named,
    )


@cache
def _models() -> Loader:
    """What botocore knows of AWS's services, read once: it takes a good part of a second."""
    loader: Loader = create_loader()
    return loader


def _is_below(key: str, folder: str) -> bool:
    return bool(folder) and key.startswith(f"{folder.lstrip('/')}/")


def _state(size: int, modified: Any, tag: str) -> State:
    """The ETag, which each other content changes, stands for the inode."""
    number = int.from_bytes(hashlib.sha256(tag.encode()).digest()[:8], "big")
    return State(size, int(modified.timestamp()) * 10**9, 0, number)
