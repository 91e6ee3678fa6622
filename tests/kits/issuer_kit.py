"""An issuer of tokens: keys, tokens, and a real HTTP server of its JWKS document."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey

from trunkline.gateway.identity.jwks import DISCOVERY


class Issuer:
    """A context manager. ``asked``: how often its keys were fetched; ``status``: what it answers;
    ``extra``: further keys of its document; ``role``: one that it gives."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {"k1": ECKey.generate_key("P-256", {"kid": "k1"})}
        self.asked = 0
        self.status = 200
        self.extra: list[Any] = []
        self.role = ""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer._body(self.path)
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *told: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/realm"

    @property
    def jwks(self) -> str:
        return f"{self.url}/keys"

    def rotate(self, kid: str, *, rsa: bool = False) -> None:
        """A new key takes the place of all before."""
        self.keys = {
            kid: RSAKey.generate_key(2048, {"kid": kid})
            if rsa
            else ECKey.generate_key("P-256", {"kid": kid})
        }

    def token(
        self,
        subject: str = "alice",
        *,
        kid: str = "",
        header: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token; ``claims``: instead of the usual ones, None to leave one out."""
        kid = kid or next(iter(self.keys))
        key = self.keys[kid]
        algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
        given = {
            "iss": self.url,
            "aud": "trunkline",
            "sub": subject,
            "exp": int(time.time()) + 300,
            "realm_access": {"roles": ["order-desk"]},
            **claims,
        }
        said = {name: value for name, value in given.items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": kid, **(header or {})}, said, key, [algorithm])

    def _body(self, path: str) -> bytes:
        if path.endswith(DISCOVERY):
            return json.dumps({"issuer": self.url, "jwks_uri": self.jwks}).encode()
        self.asked += 1
        known = [key.as_dict(private=False) for key in self.keys.values()]
        return json.dumps({"keys": [*self.extra, *known]}).encode()

    def __enter__(self) -> Issuer:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
