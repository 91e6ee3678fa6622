"""Messages and their types, made of ``externalscaler.proto`` by protoc (``grpcio-tools``)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROTO = HERE / "externalscaler.proto"
MADE = ("externalscaler_pb2.py", "externalscaler_pb2.pyi")


def generated() -> dict[Path, bytes]:
    """Each generated file, and what it should hold."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{HERE}"]
        command += [f"--python_out={folder}", f"--pyi_out={folder}", str(PROTO)]
        subprocess.run(command, check=True)
        return {HERE / name: (Path(folder) / name).read_bytes() for name in MADE}


def main() -> int:
    """Write what is stale; with ``--check`` only name it, and return 1."""
    stale = [p for p, text in generated().items() if not p.exists() or p.read_bytes() != text]
    for path in stale:
        if "--check" not in sys.argv:
            path.write_bytes(generated()[path])
        print(f"{path}: {'stale' if '--check' in sys.argv else 'written'}")
    return int("--check" in sys.argv and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
