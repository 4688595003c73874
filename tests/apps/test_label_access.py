"""Signing in: without a token nothing is read or written, by MONAI Label's routes or by ours."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from label_server import BUNDLE, Server, StartServer, make_study
from realm import token

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(start_server: StartServer, realm: str, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that asks for tokens, and that begins with weights from elsewhere."""
    folder = tmp_path_factory.mktemp("signed_in")
    make_study(folder / "studies" / "p1", 1)
    settings = {"MONAI_LABEL_AUTH_ENABLE": "true", "MONAI_LABEL_AUTH_REALM_URI": realm, "BONEMETS_BUNDLES": ""}
    weights = str(bundles / BUNDLE / "models" / "model.pt")
    return start_server(folder / "studies", folder / "work", "--weights", weights, "--bundle", BUNDLE, **settings)


def as_user(server: Server, bearer: str) -> Server:
    return Server(server.url, server.work, server.process, server.log, {"Authorization": f"Bearer {bearer}"})


def routes(server: Server) -> list[tuple[str, str]]:
    """Every route that the server tells of, and those that it hides."""
    document = as_user(server, token()).request("GET", "/openapi.json").json()
    told = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    hidden = [
        ("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("POST", "/reload"), ("GET", "/ohif/"),
        ("PUT", "/datastore/"), ("DELETE", "/datastore/"), ("PUT", "/datastore/updatelabelinfo"), ("POST", "/train/"),
        ("POST", "/scoring/"), ("GET", "/proxy/dicom/studies"), ("POST", "/proxy/dicom/stow/studies"),
    ]  # fmt: skip
    return [(method, path.replace("{", "").replace("}", "")) for method, path in (*told, *hidden)]


def test_no_route_without_a_token(server: Server) -> None:
    everything = routes(server)
    ours = {"/bonemets/worklist", "/bonemets/history", "/bonemets/studies", "/datastore/label", "/infer/model"}
    assert ours <= {path for _, path in everything}
    other_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for bearer in (None, "nonsense", token(seconds=-10), token(key=other_key), token(key=None)):
        stranger = as_user(server, bearer) if bearer else server
        for method, path in everything:
            if not path.startswith("/auth"):
                assert stranger.request(method, path).status_code == 401, (method, path, bearer)
    assert server.request("GET", "/auth/token/valid").status_code == 401
    assert server.request("GET", "/auth/").json()["enabled"] is True
    assert server.request("GET", "/viewer/../datastore/").status_code == 401
    assert server.request("GET", "/static/%2e%2e/%2e%2e/app.py").status_code == 404


def test_roles(server: Server) -> None:
    reader, annotator = as_user(server, token(roles=("user",))), as_user(server, token())
    assert reader.request("GET", "/bonemets/worklist").json()[0]["id"] == "p1_scan"
    assert reader.request("GET", "/datastore/image?image=p1_scan").ok
    assert reader.request("POST", f"/infer/{BUNDLE}?image=p1_scan&output=image").ok
    assert reader.request("POST", "/bonemets/studies").status_code == 403
    files = {"label": ("label.nii.gz", b"x")}
    assert reader.request("PUT", "/datastore/label?image=p1_scan", files=files).status_code == 403
    assert annotator.request("POST", f"/train/{BUNDLE}").status_code == 403
    assert annotator.request("DELETE", "/datastore/label?id=p1_scan&tag=final").status_code == 403
    assert as_user(server, token(roles=())).request("GET", "/info/").status_code == 403


def test_labels_bear_the_name_of_who_signed_in(server: Server, tmp_path: Path) -> None:
    image = nib.load(server.work / "datastore" / "p1_scan.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), tmp_path / "label.nii.gz")
    for number, user in enumerate(("anna", "ben"), start=1):
        files = {"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())}
        # What the client says of itself does not change who it is.
        data = {"params": json.dumps({"user": "chief", "client_id": "tablet", "base_version": number - 1})}
        answer = as_user(server, token(user)).request("PUT", "/datastore/label?image=p1_scan", files=files, data=data)
        assert answer.json()["version"] == number, answer.text
    versions = as_user(server, token()).request("GET", "/bonemets/history?image=p1_scan").json()
    assert [version["user"] for version in versions] == ["anna", "ben"]
    info = as_user(server, token()).request("GET", "/datastore/label/info?label=p1_scan&tag=final").json()
    assert (info["user"], info["version"], info["client_id"]) == ("ben", 2, "tablet")
