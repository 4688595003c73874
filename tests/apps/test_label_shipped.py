"""Whoever clones can annotate at once: all five bundles propose with the weights that they ship."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from label_server import StartServer, body_ct, make_study, skin_picture
from PIL import Image

from bonemets.bundle.folders import find_bundle
from bonemets.bundle.weights import shipped_record
from bonemets.data import write_nifti

pytestmark = pytest.mark.slow

ITEMS = {
    "ct_mfp_deeplabv3plus_segmentation": "ct",
    "skin_sc_unext_segmentation": "mole",
    "spect_dual_pooling_segmentation": "nm_scan",
    "spect_msa_net_segmentation": "nm_scan",
    "spect_multi_attention_segmentation": "nm_scan",
}


def test_every_bundle_proposes_with_its_shipped_weights(
    start_server: StartServer, label_packages: Path, tmp_path: Path
) -> None:
    from monailabel.client import MONAILabelClient

    studies = tmp_path / "studies"
    make_study(studies / "nm", 1)
    write_nifti(studies / "ct.nii.gz", body_ct(1)[0].swapaxes(0, 1), np.diag([-2.0, -2.0, 3.0, 1.0]))
    Image.fromarray(skin_picture(1)[0]).save(studies / "mole.png")
    server = start_server(studies, tmp_path / "work", BONEMETS_BUNDLES="")
    client = MONAILabelClient(server.url, tmpdir=str(tmp_path))
    assert sorted(client.info()["models"]) == sorted(ITEMS)
    for bundle, item in ITEMS.items():
        file, params = client.infer(bundle, item, {"device": "cpu"})
        assert params["weights_sha256"] == shipped_record(find_bundle(bundle))["sha256"]
        assert set(np.unique(np.asarray(nib.load(file).dataobj))) <= {0, 1}
