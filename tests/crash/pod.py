"""A rendered pod as a process of this machine: its container's arguments, variables and probes.

What a kubelet would make is made here: variables from literals and Secrets and none beside them,
files of ConfigMaps where they are mounted, folders for volumes. The ports of all pods are those of
one machine here, so each pod gets a free one for the health port.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trunkline.local.ports import free_port
from worker_kit import PATIENCE, eventually

APP = "/app/"


class Pod:
    """One pod of a workload. ``secrets``: what is in the cluster's Secrets, by name and key;
    ``image``: the files in the image, by their path below /app."""

    def __init__(
        self,
        workload: dict[str, Any],
        objects: list[dict[str, Any]],
        *,
        secrets: Mapping[tuple[str, str], str],
        image: Mapping[str, Path],
        home: Path,
    ) -> None:
        self._spec = workload["spec"]["template"]["spec"]
        (self._container,) = self._spec["containers"]
        self._home = home
        self._port = free_port()
        home.mkdir()
        for path, file in image.items():
            (home / "app" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, home / "app" / path)
        mounted = self._mounted(objects)
        self.log = home / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trunkline", *self._arguments()],
                env=self._variables(secrets, mounted),
                cwd=home / "app",
                stdout=output,
                stderr=output,
            )

    def _mounted(self, objects: list[dict[str, Any]]) -> dict[str, str]:
        """Makes the volumes; returns where the folders of the container are on this machine."""
        maps = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
        volumes = {volume["name"]: volume for volume in self._spec["volumes"]}
        places = {}
        for mount in self._container["volumeMounts"]:
            path, volume = mount["mountPath"], volumes[mount["name"]]
            if "configMap" in volume:
                file = self._home / "app" / path.removeprefix(APP)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(maps[volume["configMap"]["name"]][mount["subPath"]])
            else:
                assert "emptyDir" in volume, volume
                places[path] = str(self._home / mount["name"])
                Path(places[path]).mkdir()
        return places

    def _arguments(self) -> list[str]:
        arguments = [str(argument) for argument in self._container["args"]]
        ports = [p for p in self._container.get("ports", ()) if p["name"] == "health"]
        if not ports:  # a job has no pages
            return arguments
        (port,) = ports
        at = arguments.index("--port") + 1
        assert arguments[at] == str(port["containerPort"])
        return [*arguments[:at], str(self._port), *arguments[at + 1 :]]

    def _variables(
        self, secrets: Mapping[tuple[str, str], str], places: Mapping[str, str]
    ) -> dict[str, str]:
        found = {"PATH": os.environ["PATH"], "HOME": places["/tmp"], "TMPDIR": places["/tmp"]}
        for entry in self._container["env"]:
            if "value" in entry:
                found[entry["name"]] = places.get(entry["value"], entry["value"])
            else:
                wanted = entry["valueFrom"]["secretKeyRef"]
                found[entry["name"]] = secrets[wanted["name"], wanted["key"]]
        return found

    def answers(self, probe: str) -> bool:
        """Whether its probe (``readiness``, …) succeeds now."""
        assert self.process.poll() is None, f"it ended:\n{self.log.read_text()[-4000:]}"
        path = self._container[f"{probe}Probe"]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5):
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def begun(self) -> None:
        """Wait until it started, lives and is ready."""
        for probe in ("startup", "liveness", "readiness"):
            eventually(lambda p=probe: self.answers(p), f"the {probe} probe succeeds")

    def done(self) -> None:
        """Wait for the end of a job, which must be a clean one."""
        code = self.process.wait(PATIENCE)
        assert code == 0, f"it ended with {code}:\n{self.log.read_text()[-4000:]}"

    def stop(self) -> float:
        """SIGTERM; the seconds until its end, which must be a clean one within its grace period."""
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(self._spec["terminationGracePeriodSeconds"])
        assert code == 0, f"it ended with {code}:\n{self.log.read_text()[-4000:]}"
        return time.monotonic() - began

    def kill(self) -> None:
        """The end of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
