"""Who may do what: nothing without a token where signing in is required, and every label with its author's name."""

from __future__ import annotations

import functools
from typing import Any

import jwt
import requests
from jwt import InvalidTokenError
from monailabel.config import settings
from monailabel.endpoints.user import auth
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from bonemets.labeling.store.datastore import USER

# What a browser needs to show the page on which one signs in: programs, no data.
OPEN_PATHS = ("/auth/", "/viewer/", "/static/")
OPEN_FILES = ("/auth", "/viewer", "/favicon.ico")
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "PS256")


class SignedInOnly:
    """ASGI middleware that refuses requests without a valid token, and notes whose token it is.

    MONAI Label checks roles route by route (``MONAI_LABEL_AUTH_ENABLE`` and its companions) and leaves some routes
    unchecked; this stands before all of them, its own and ours. Where signing in is not required it does nothing.

    Args:
        app: what comes after.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "lifespan" or not settings.MONAI_LABEL_AUTH_ENABLE or is_open(scope):
            await self.app(scope, receive, send)
            return
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        try:
            user = auth.from_token(token.strip()) if scheme.lower() == "bearer" else None
        except InvalidTokenError:
            user = None
        except requests.RequestException:
            await _refuse(503, "the server that signs users in cannot be reached")(scope, receive, send)
            return
        if user is None:
            await _refuse(401, "a valid token is required")(scope, receive, send)
            return
        noted = USER.set(user.username or "")
        try:
            await self.app(scope, receive, send)
        finally:
            USER.reset(noted)


def is_open(scope: Scope) -> bool:
    """Whether the path is served without a token: the viewer's program, and signing in."""
    path = scope.get("path", "")
    # A browser asks OPTIONS before it sends the token; the answer holds no data.
    if scope.get("method") == "OPTIONS":
        return True
    return scope.get("method") in ("GET", "HEAD", "POST") and (path in OPEN_FILES or path.startswith(OPEN_PATHS))


def name_algorithms() -> None:
    """Let tokens be decoded again.

    MONAI Label 0.8.5 calls `jwt.decode` without ``algorithms``, which PyJWT 2 refuses for every token. The module gets
    a `jwt` whose ``decode`` names those of public keys; a call that names its own is left alone.
    """
    if not isinstance(auth.jwt, _NamedAlgorithms):
        auth.jwt = _NamedAlgorithms()


class _NamedAlgorithms:
    """The `jwt` module with another default."""

    def __getattr__(self, name: str) -> Any:
        return getattr(jwt, name)

    @functools.wraps(jwt.decode)
    def decode(self, *args: Any, **kwargs: Any) -> Any:
        return jwt.decode(*args, **{"algorithms": list(ALGORITHMS), **kwargs})


def _refuse(status: int, detail: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"detail": detail}, status, headers)
