"""The address of an MLflow store, as `sqlite:///PATH` or that of a server."""

from __future__ import annotations

import re

SQLITE = "sqlite:///"


def store_address(uri: str) -> str:
    """A store's address for SQLAlchemy, which from 2.1 on decodes what looks percent-encoded in a file's path."""
    from sqlalchemy.engine import make_url

    if not uri.startswith(SQLITE) or make_url(f"{SQLITE}a%20b").database == "a%20b":
        return uri
    path = re.sub("%(?=[0-9A-Fa-f]{2})", "%25", uri.removeprefix(SQLITE))
    return SQLITE + path.replace("?", "%3F")
