"""A store that speaks S3, in a process of its own: moto's server."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from trunkline.connectors.files import S3
from trunkline.local.ports import free_port

pytest.importorskip("moto", reason="no moto (pip install 'trunkline[dev]')")

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError


class S3Server:
    """A store, empty at first. ``new_bucket`` gives each test a bucket of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self._buckets = 0
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            self.client.list_buckets()
        except BotoCoreError:
            return False
        return True

    def new_bucket(self) -> str:
        self._buckets += 1
        name = f"bucket-{self._buckets}"
        self.client.create_bucket(Bucket=name)
        return name

    def place(self, bucket: str, folder: str = "in") -> S3:
        """A folder as a flow names it."""
        return S3(
            bucket=bucket,
            folder=folder,
            endpoint=self.endpoint,
            access_key="key",
            secret_key="secret",
            timeout="5s",
        )

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def contents(self, bucket: str) -> dict[str, bytes]:
        """All objects by key."""
        listed = self.client.list_objects_v2(Bucket=bucket).get("Contents", [])
        keys = [item["Key"] for item in listed]
        get = self.client.get_object
        return {key: get(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def close(self) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()
