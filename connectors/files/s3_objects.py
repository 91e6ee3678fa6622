"""Where FileSink writes in a bucket: objects that are put only if they are not there."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from trunkline.connectors.files.calls import Calls, patience
from trunkline.connectors.files.lines import Stopped
from trunkline.connectors.files.places import S3
from trunkline.connectors.files.s3 import FAILURES, client_of
from trunkline.times import parse_duration

T = TypeVar("T")


class S3Objects:
    """``Objects`` in a bucket. ``stop``: ends a call that is under way, with OSError."""

    def __init__(self, place: S3, stop: threading.Event) -> None:
        self._place = place
        self._stop = stop
        self._timeout = parse_duration(place.timeout)
        self._calls = Calls()
        self._held = AsyncExitStack()
        self._client: Any = None

    def open(self) -> None:
        """See Objects."""
        self._run(self._call("head_bucket"), "the bucket")

    def create(self, path: str, content: bytes) -> bool:
        """See Objects: by ``If-None-Match: *``, which the store must know."""
        put = self._call("put_object", Key=self._key(path), Body=content, IfNoneMatch="*")
        try:
            self._run(put, path)
        except FileExistsError:
            return False
        return True

    def read(self, path: str) -> bytes:
        """See Objects."""
        return self._run(self._read(self._key(path)), path)

    def size(self, path: str) -> int:
        """See Objects."""
        head = self._run(self._call("head_object", Key=self._key(path)), path)
        return int(head["ContentLength"])

    def names(self, folder: str) -> Sequence[str]:
        """See Objects."""
        return self._run(self._names(f"{self._key(folder)}/"), folder)

    def remove(self, path: str) -> None:
        """See Objects."""
        self._run(self._call("delete_object", Key=self._key(path)), path)

    def close(self) -> None:
        """See Objects."""
        self._forget()
        self._calls.close()

    def _key(self, path: str) -> str:
        return posixpath.join(self._place.folder, path)

    def _run(self, call: Coroutine[Any, Any, T], path: str) -> T:
        """The call's result; each failure is an OSError that names bucket and path."""
        where = f"s3://{self._place.bucket}: {path}"
        try:
            return self._calls.run(call, self._stop)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 412:
                raise FileExistsError(17, "there is such an object", path) from error
            raise OSError(f"{where}: {error}") from error
        except FAILURES as error:
            self._forget()
            raise OSError(f"{where}: {error or f'silent for {self._place.timeout}'}") from error
        except Stopped:
            self._forget()
            raise OSError(f"{where}: it was given up, as the sink is closed") from None

    def _forget(self) -> None:
        if self._client is not None:
            self._client = None
            self._calls.run(self._held.aclose(), threading.Event())

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        if self._client is None:
            self._client = await self._held.enter_async_context(client_of(self._place))
        async with patience(self._timeout):
            yield self._client

    async def _call(self, name: str, **arguments: Any) -> Any:
        async with self._opened() as client:
            return await getattr(client, name)(Bucket=self._place.bucket, **arguments)

    async def _read(self, key: str) -> bytes:
        async with self._opened() as client:
            answer = await client.get_object(Bucket=self._place.bucket, Key=key)
            async with answer["Body"] as body:
                content: bytes = await body.read()
                return content

    async def _names(self, prefix: str) -> list[str]:
        found: list[str] = []
        more: dict[str, str] = {}
        while True:
            page = await self._call("list_objects_v2", Prefix=prefix, Delimiter="/", **more)
            found += [item["Key"][len(prefix) :] for item in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                return found
            more["ContinuationToken"] = page["NextContinuationToken"]
