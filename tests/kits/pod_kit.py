"""A rendered pod as a process of this machine: its container's arguments, variables and probes.

What a kubelet would make is made here: variables from literals and Secrets and none beside them,
files of ConfigMaps and folders of Secrets where they are mounted, folders for volumes, what runs
before SIGTERM. The ports of all pods are those of one machine here, so each pod gets free ones.
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
PORT_OPTIONS = ("--port", "--health-port")


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
        self._home, self._secrets = home, dict(secrets)
        self.ports = {p["name"]: free_port() for p in self._container.get("ports", ())}
        home.mkdir()
        for path, file in image.items():
            (home / "app" / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, home / "app" / path)
        mounted = self._mounted(objects)
        self.log = home / "log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trunkline", *self._arguments(mounted)],
                env=self._variables(mounted),
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
                continue
            places[path] = str(self._home / mount["name"])
            Path(places[path]).mkdir()
            if "secret" in volume:
                self._fill(Path(places[path]), volume["secret"]["secretName"])
            else:
                assert "emptyDir" in volume, volume
        return places

    def _fill(self, folder: Path, secret: str) -> None:
        """As a kubelet does: each key is a link through the link `..data`, which it points at a new
        folder when the Secret has changed, so that all keys change at one moment."""
        fresh = folder / f"..{time.monotonic_ns()}"
        fresh.mkdir()
        for name, key in self._secrets:
            if name == secret:
                (fresh / key).write_text(self._secrets[name, key])
                if not (folder / key).is_symlink():
                    (folder / key).symlink_to(f"..data/{key}")
        beside = folder / "..data_tmp"
        beside.symlink_to(fresh.name)
        beside.replace(folder / "..data")

    def changed(self, secret: str, key: str, value: str) -> None:
        """A Secret that it mounts has changed, and its node has heard of it."""
        self._secrets[secret, key] = value
        for volume in self._spec["volumes"]:
            if volume.get("secret", {}).get("secretName") == secret:
                self._fill(self._home / volume["name"], secret)

    def _arguments(self, places: Mapping[str, str]) -> list[str]:
        numbers = {p["name"]: str(p["containerPort"]) for p in self._container.get("ports", ())}
        ours = {number: str(self.ports[name]) for name, number in numbers.items()}
        arguments, before = [], ""
        for argument in map(str, self._container["args"]):
            folder = next((path for path in places if argument.startswith(f"{path}/")), "")
            if before in PORT_OPTIONS:
                arguments.append(ours[argument])
            elif folder:
                arguments.append(places[folder] + argument.removeprefix(folder))
            else:
                arguments.append(argument)
            before = argument
        return arguments

    def _variables(self, places: Mapping[str, str]) -> dict[str, str]:
        found = {"PATH": os.environ["PATH"], "HOME": places["/tmp"], "TMPDIR": places["/tmp"]}
        for entry in self._container["env"]:
            if "value" in entry:
                found[entry["name"]] = places.get(entry["value"], entry["value"])
            else:
                wanted = entry["valueFrom"]["secretKeyRef"]
                found[entry["name"]] = self._secrets[wanted["name"], wanted["key"]]
        return found

    def answers(self, probe: str) -> bool:
        """Whether its probe (``readiness``, …) succeeds now."""
        assert self.process.poll() is None, f"it ended:\n{self.log.read_text()[-4000:]}"
        asked = self._container[f"{probe}Probe"]["httpGet"]
        try:
            url = f"http://127.0.0.1:{self.ports[asked['port']]}{asked['path']}"
            with urllib.request.urlopen(url, timeout=5):
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
        """What runs before SIGTERM, then that; the seconds until its end, which must be a clean one
        within its grace period."""
        began = time.monotonic()
        hook = self._container.get("lifecycle", {}).get("preStop", {})
        if hook:
            subprocess.run(hook["exec"]["command"], check=True)
        self.process.terminate()
        left = self._spec["terminationGracePeriodSeconds"] - (time.monotonic() - began)
        code = self.process.wait(left)
        assert code == 0, f"it ended with {code}:\n{self.log.read_text()[-4000:]}"
        return time.monotonic() - began

    def kill(self) -> None:
        """The end of the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
