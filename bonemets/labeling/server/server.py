"""The web server: MONAI Label's, behind the check of tokens, with our own routes and the viewer's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, HTTPException
from monailabel.app import app
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from bonemets.errors import InputError
from bonemets.labeling.server.access import SignedInOnly, name_algorithms
from bonemets.labeling.server.launch import app_source, take_in
from bonemets.labeling.tasks.scores import SCORES
from bonemets.labeling.tasks.scoring import value_of
from bonemets.labeling.tasks.strategies import reserved

ANYONE = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
router = APIRouter(prefix="/bonemets", tags=["bonemets"])


@router.get("/worklist")
async def worklist(client_id: str = "", user: User = ANYONE) -> list[dict[str, Any]]:
    """Every item: its modality, views, labels, scores, and whether another annotator has it before them."""
    instance = app_instance()
    store, items = instance.datastore(), []
    for item, link in instance.work.links().items():
        info = store.get_image_info(item)
        if info:
            labels = {tag: store.get_label_info(item, tag) for tag in store.get_labels_by_image_id(item)}
            scores = {name: value_of(store, item, name).get("score") for name in SCORES}
            items.append({
                "id": item, "modality": link.modality, "views": link.views, "labels": labels, "scores": scores,
                "dice": info.get("dice"), "reserved": reserved(info, client_id or user.username),
            })  # fmt: skip
    return items


@router.get("/history")
async def history(image: str, user: User = ANYONE) -> list[dict[str, Any]]:
    """All versions of an item's labels, oldest first: who saved which, when."""
    keys = ("tag", "version", "action", "user", "time", "replaces", "base", "lesion_pixels")
    versions = [version for version in app_instance().datastore().history.versions() if version.image == image]
    return [{key: getattr(version, key) for key in keys} for version in versions]


@router.get("/history/label")
async def history_label(image: str, version: int, tag: str = "final", user: User = ANYONE) -> Response:
    """The label's file as a version has it."""
    kept = app_instance().datastore().history
    wished = (image, tag, version)
    found = [each for each in kept.versions() if (each.image, each.tag, each.version) == wished and each.file]
    if not found:
        raise HTTPException(404, f"there is no version {version} of label {tag!r} of {image!r}")
    return Response(kept.content(found[0]), media_type="application/gzip")


@router.post("/studies")
async def studies(user: User = ANNOTATOR) -> dict[str, Any]:
    """Take in studies that were added since the server started."""
    instance = app_instance()
    try:
        found = take_in(settings.MONAI_LABEL_STUDIES, instance.work, instance.conf.get("modality"))
    except InputError as error:
        raise HTTPException(400, str(error)) from error
    instance.datastore().refresh()
    return {"added": found.added, "known": found.known, "problems": len(found.problems)}


name_algorithms()
app.include_router(router)
viewer: Path = app_source() / "viewer"
if viewer.is_dir():
    app.mount("/viewer", StaticFiles(directory=viewer, html=True), name="viewer")
# MONAI Label lets the pages of every site read from the server through an annotator's browser, and its setting for
# that (MONAI_LABEL_CORS_ORIGINS) stops it at the start. The viewer comes from this server and needs no leave.
app.user_middleware[:] = [middleware for middleware in app.user_middleware if middleware.cls is not CORSMiddleware]
app.add_middleware(SignedInOnly)
