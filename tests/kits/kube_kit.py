"""A Kubernetes of the tests' own: etcd, API server, controllers, scheduler, and nodes by kwok.

What the API server takes and refuses, and what controllers make of it, is Kubernetes' own. Nodes
are kwok's: no container runs, and a pod becomes what its image's tag says (``kube_stages``).
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kube_programs import CLUSTER_PROGRAMS, HOW, definitions, home, missing
from kube_stages import stages
from trunkline.local.ports import free_port
from trunkline.local.process import Child, Command
from worker_kit import eventually

TOKEN = uuid.uuid4().hex
CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "statefulset-controller"),
    *("job-controller", "disruption-controller", "serviceaccount-controller"),
    *("namespace-controller", "garbage-collector-controller", "persistentvolume-binder-controller"),
    "persistentvolumeclaim-protection-controller",
)
NODES, DISKS = ("node-a", "node-b"), 30


class Cluster:
    """A running cluster. A context manager; entering it skips where its programs are not built."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._running = ExitStack()
        self.port = free_port()
        self.kubeconfig = place / "kubeconfig"
        self.api = Api(f"https://127.0.0.1:{self.port}")

    def __enter__(self) -> Self:
        if lacking := missing(*CLUSTER_PROGRAMS):
            pytest.skip(f"no Kubernetes here, it lacks {', '.join(lacking)}: {HOW}")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.api.close()
        self._running.close()

    def _start(self) -> None:
        self._write_files()
        etcd, peer = free_port(), free_port()
        self.run(
            "etcd",
            *(f"--data-dir={self._place}/etcd-data", "--logger=zap", "--log-level=error"),
            *(
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
            ),
            *(f"--advertise-client-urls=http://127.0.0.1:{etcd}", "--initial-cluster-state=new"),
            *(f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",),
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            ready=f"http://127.0.0.1:{etcd}/health",
        )
        self.run("kube-apiserver", *self._api_server(etcd), ready=f"{self.api.url}/readyz")
        config = f"--kubeconfig={self.kubeconfig}"
        key = f"--service-account-private-key-file={self._place}/sa.key"
        controllers = f"--controllers={','.join(CONTROLLERS)}"
        alone = ("--leader-elect=false", "--secure-port=0")
        self.run("kube-controller-manager", config, key, controllers, *alone)
        self.run("kube-scheduler", config, *alone)
        self.run("kwok", config, "--manage-all-nodes=true", f"--config={self._place}/stages.yaml")
        self._furnish()

    def _write_files(self) -> None:
        pair = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        (self._place / "sa.key").write_bytes(
            pair.private_bytes(
                pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        public = pair.public_key().public_bytes(
            pem, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self._place / "sa.pub").write_bytes(public)
        (self._place / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        (self._place / "stages.yaml").write_text(yaml.safe_dump_all(stages()))
        cluster = {"server": self.api.url, "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        self.kubeconfig.chmod(0o600)

    def _api_server(self, etcd: int) -> Iterator[str]:
        yield from (f"--etcd-servers=http://127.0.0.1:{etcd}", f"--secure-port={self.port}")
        yield from ("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1")
        yield from ("--endpoint-reconciler-type=none", f"--cert-dir={self._place}/certificates")
        yield from ("--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC")
        yield f"--token-auth-file={self._place}/tokens.csv"
        yield "--service-account-issuer=https://kubernetes.default.svc"
        yield f"--service-account-key-file={self._place}/sa.pub"
        yield f"--service-account-signing-key-file={self._place}/sa.key"
        # Both need a newer etcd than Debian's.
        yield "--feature-gates=WatchList=false,SizeBasedListCostEstimate=false"
        # Nodes have no controller here that would find them ready, and take the taint away.
        yield "--disable-admission-plugins=TaintNodesByCondition"

    def run(
        self, name: str, *arguments: str, ready: str = "", environment: dict[str, str] | None = None
    ) -> None:
        """One more program of the cache, until the cluster ends; returns when it serves."""
        child = Child(
            Command(
                name,
                (str(home() / name), *arguments),
                self._place / f"{name}.log",
                _answers(ready) if ready else lambda _: True,
                self._place,
                environment or {},
            )
        )
        self._running.callback(child.stop)
        child.wait_ready()

    def _furnish(self) -> None:
        for name in NODES:
            labels = {"kubernetes.io/hostname": name, "site": "plant-7"}
            self.api.make("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}})
        for file in definitions():
            kind = yaml.safe_load(file.read_text())
            self.api.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", kind)
        standard = {"storageclass.kubernetes.io/is-default-class": "true"}
        self.api.make(
            "/apis/storage.k8s.io/v1/storageclasses",
            {
                "metadata": {"name": "standard", "annotations": standard},
                "provisioner": "kubernetes.io/no-provisioner",
            },
        )
        for number in range(DISKS):
            self.api.make("/api/v1/persistentvolumes", _disk(f"disk-{number}"))
        for name in NODES:
            eventually(lambda n=name: self._is_ready(n), f"{name} is ready")
        kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        eventually(lambda: all(_is(kind, "Established") for kind in self.api.list(kinds)), "kinds")

    def _is_ready(self, node: str) -> bool:
        return _is(self.api.get(f"/api/v1/nodes/{node}"), "Ready")

    def namespace(self) -> str:
        """A new namespace that asks for restricted pods, and warns of workloads with others."""
        level = {f"pod-security.kubernetes.io/{what}": "restricted" for what in ("enforce", "warn")}
        name = f"test-{uuid.uuid4().hex[:8]}"
        self.api.make("/api/v1/namespaces", {"metadata": {"name": name, "labels": level}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        eventually(lambda: self.api.find(account), "the namespace has its account")
        return name

    def forget(self, namespace: str) -> None:
        """Delete a namespace, without waiting for its end."""
        self.api.delete(f"/api/v1/namespaces/{namespace}")


class Api:
    """The API, as its administrator. Raises Refused for what it does not take."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=_trusting(),
            timeout=60,
        )
        self._plurals: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def find(self, path: str) -> dict[str, Any] | None:
        """What is there, or None."""
        answer = self._http.get(path)
        return None if answer.status_code == 404 else _taken(answer)

    def get(self, path: str) -> dict[str, Any]:
        """What is there."""
        return _taken(self._http.get(path))

    def list(self, path: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        return list(self.get(path)["items"])

    def make(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        """A new object."""
        return _taken(self._http.post(path, json=given))

    def patch(self, path: str, given: Any) -> dict[str, Any]:
        """Merge into an object; a list is a JSON patch."""
        form = "json-patch" if isinstance(given, list) else "merge-patch"
        sent = {"Content-Type": f"application/{form}+json"}
        return _taken(self._http.patch(path, content=json.dumps(given), headers=sent))

    def delete(self, path: str) -> None:
        """Delete an object."""
        _taken(self._http.delete(path))

    def place(self, version: str, kind: str, namespace: str) -> str:
        """The path of a kind of objects in a namespace."""
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        if root not in self._plurals:
            found = self.get(root)["resources"]
            self._plurals[root] = {r["kind"]: r["name"] for r in found if "/" not in r["name"]}
        return f"{root}/namespaces/{namespace}/{self._plurals[root][kind]}"

    def history(self, path: str, since: str) -> list[tuple[int, str, dict[str, Any]]]:
        """All that happened to a kind's objects since a version: (version, ADDED, …, object) in
        order. Versions of different kinds are of one order, too."""
        began, deadline = time.monotonic(), 20.0
        while True:
            events = list(self._watched(path, since))
            left = {o["metadata"]["uid"]: o["metadata"]["resourceVersion"] for o in self.list(path)}
            told = {uid for uid, kind in _last(events).items() if kind != "DELETED"}
            changed = {uid for uid, version in left.items() if int(version) > int(since)}
            if changed <= told and told <= set(left):  # the watch told all, and nothing moves
                return events
            assert time.monotonic() - began < deadline, f"{path} does not come to rest"

    def _watched(self, path: str, since: str) -> Iterator[tuple[int, str, dict[str, Any]]]:
        asked = {"watch": "true", "resourceVersion": since, "timeoutSeconds": "2"}
        with self._http.stream("GET", path, params=asked) as answer:
            for line in answer.iter_lines():
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                found = event["object"]
                yield int(found["metadata"]["resourceVersion"]), event["type"], found


def _last(events: list[tuple[int, str, dict[str, Any]]]) -> dict[str, str]:
    return {found["metadata"]["uid"]: kind for _, kind, found in events}


class Refused(Exception):
    """The API server does not take it; ``status`` is HTTP's."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


def _taken(answer: httpx.Response) -> dict[str, Any]:
    if answer.is_error:
        raise Refused(answer.status_code, answer.text)
    found: dict[str, Any] = answer.json()
    return found


def _is(found: dict[str, Any], condition: str) -> bool:
    conditions = found.get("status", {}).get("conditions", [])
    return any(c["type"] == condition and c["status"] == "True" for c in conditions)


def _disk(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "standard",
            "hostPath": {"path": f"/{name}"},
        },
    }


def _trusting() -> ssl.SSLContext:
    """The server has made its certificate itself, on this machine's own loopback."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _answers(url: str) -> Callable[[int], bool]:
    def ready(_: int) -> bool:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=5, context=_trusting()) as answer:
            return bool(answer.status == 200)

    return ready
