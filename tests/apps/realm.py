"""An OpenID Connect realm as MONAI Label uses one: it tells its public key, and gives tokens for a password."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ROLES = {name: f"monailabel-{name}" for name in ("admin", "reviewer", "annotator", "user")}
PASSWORD = "a long password"


def token(
    user: str = "anna", roles: tuple[str, ...] = ("user", "annotator"), key: Any = KEY, seconds: int = 600
) -> str:
    """A signed JSON web token (RFC 7519), as Keycloak gives one; not signed if `key` is None."""
    claims: dict[str, Any] = {"preferred_username": user, "exp": int(time.time()) + seconds}
    claims["realm_access"] = {"roles": [ROLES[role] for role in roles]}
    parts = [encode(json.dumps(part).encode()) for part in ({"alg": "RS256" if key else "none"}, claims)]
    content = ".".join(parts)
    return f"{content}.{encode(key.sign(content.encode(), padding.PKCS1v15(), SHA256())) if key else ''}"


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class Realm(BaseHTTPRequestHandler):
    """What MONAI Label asks a Keycloak realm for."""

    def do_GET(self) -> None:
        if self.path.endswith("/.well-known/openid-configuration"):
            place = self.path.removesuffix("/.well-known/openid-configuration")
            self.answer({"token_endpoint": f"http://{self.headers['Host']}{place}/token"})
            return
        key = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.answer({"public_key": base64.b64encode(key).decode()})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form["password"] == [PASSWORD]:
            self.answer({"access_token": token(form["username"][0]), "token_type": "Bearer"})
        else:
            self.answer({"error": "invalid_grant"}, 401)

    def answer(self, content: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


@contextmanager
def running_realm() -> Iterator[str]:
    """A realm that runs as long as the block; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Realm)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/realms/monailabel"
    server.shutdown()
