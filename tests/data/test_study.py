import shutil
import zipfile

import nibabel as nib
import numpy as np
import pytest

from bonemets.data import read_planar, read_study
from bonemets.errors import InputError


@pytest.fixture
def single_views(save_nm, counts):
    """An anterior and a posterior object of one study, the posterior one first by name."""

    def save(folder="study", study="s"):
        save_nm(f"{folder}/2.dcm", counts[..., :1], views=("anterior",), study=study)
        return save_nm(f"{folder}/1.dcm", counts[..., 1:], views=("posterior",), study=study).parent

    return save


def test_two_single_view_files_become_one_scan(single_views, counts):
    scans = read_study(single_views())
    assert len(scans) == 1
    assert scans[0].views == ("anterior", "posterior")
    np.testing.assert_array_equal(scans[0].pixels, counts)
    assert [frame.dataset.SOPInstanceUID for frame in scans[0].frames] == [
        read_planar(scans[0].path / name).dataset.SOPInstanceUID for name in ("2.dcm", "1.dcm")
    ]


def test_several_studies_and_what_lies_between_them(tmp_path, single_views, counts, save_nm):
    single_views("a", "first")
    single_views("b", "second")
    save_nm("c/whole", counts, study="third")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "readme.txt").write_text("notes")
    (tmp_path / ".hidden.dcm").write_text("notes")
    save_nm(
        "a/seg.dcm",
        counts,
        lambda d: setattr(d, "Modality", "SEG") or setattr(d, "SOPClassUID", "1.2.3"),
        study="first",
    )
    nib.save(nib.Nifti1Image(counts, np.eye(4)), tmp_path / "extra.nii.gz")
    scans = read_study(tmp_path)
    assert [scan.views for scan in scans] == [("anterior", "posterior")] * 3
    for scan in scans:
        np.testing.assert_array_equal(scan.pixels, counts)


def test_archive(tmp_path, single_views, counts):
    folder = single_views()
    archive = shutil.make_archive(str(tmp_path / "study"), "zip", folder)
    scan = read_planar(archive)
    np.testing.assert_array_equal(scan.pixels, counts)
    assert str(scan.path) == archive


def test_archive_members_stay_inside(tmp_path, save_nm, counts):
    path = save_nm("plain.dcm", counts)
    with zipfile.ZipFile(tmp_path / "sub.zip", "w") as archive:
        archive.write(path, "../../escaped.dcm")
    assert len(read_study(tmp_path / "sub.zip")) == 1
    assert not (tmp_path.parent / "escaped.dcm").exists()


def test_copies_count_once(tmp_path, save_nm, counts):
    shutil.copy(save_nm("s/1.dcm", counts), tmp_path / "s" / "copy.dcm")
    assert len(read_study(tmp_path / "s")) == 1


def test_whole_body_is_taken_over_spot_views(tmp_path, save_nm, counts):
    save_nm("s/1.dcm", counts[:20], lambda d: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]))
    save_nm("s/2.dcm", counts)
    scans = read_study(tmp_path / "s")
    assert [scan.shape for scan in scans] == [counts.shape]


def test_early_and_late_scans_are_paired_by_time(tmp_path, save_nm, counts):
    names = iter("abcd")
    for time, factor in (("090000", 1), ("120000", 2)):
        for index, view in enumerate(("anterior", "posterior")):
            change = lambda d, time=time: setattr(d, "AcquisitionTime", time)  # noqa: E731
            save_nm(f"s/{next(names)}.dcm", counts[..., index : index + 1] * np.uint16(factor), change, views=(view,))
    early, late = read_study(tmp_path / "s")
    np.testing.assert_array_equal(early.pixels, counts)
    np.testing.assert_array_equal(late.pixels, counts * 2)


def test_views_of_unequal_size_are_not_merged(tmp_path, save_nm, counts):
    save_nm("s/1.dcm", counts[..., :1], views=("anterior",))
    save_nm("s/2.dcm", counts[:30, :, 1:], views=("posterior",))
    assert sorted(scan.views for scan in read_study(tmp_path / "s")) == [("anterior",), ("posterior",)]


def test_a_broken_planar_scan_among_good_ones_is_not_skipped(tmp_path, save_nm, counts):
    save_nm("s/1.dcm", counts)
    broken = save_nm("s/2.dcm", counts, study="other")
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(InputError, match="2.dcm"):
        read_study(tmp_path / "s")


def test_pictures_of_one_scan_are_merged_by_name(tmp_path, counts):
    for view, index in (("anterior", 0), ("posterior", 1)):
        nib.save(nib.Nifti1Image(counts[..., index].T, np.eye(4)), tmp_path / f"p1_{view}.nii.gz")
    nib.save(nib.Nifti1Image(counts[..., 0].T, np.eye(4)), tmp_path / "p2_anterior.nii.gz")
    merged, alone = sorted(read_study(tmp_path), key=lambda scan: -len(scan.views))
    np.testing.assert_array_equal(merged.pixels, counts)
    assert alone.views == ("anterior",)


def test_read_planar_wants_one_scan(tmp_path, save_nm, counts):
    save_nm("s/1.dcm", counts, study="a")
    save_nm("s/2.dcm", counts, study="b")
    with pytest.raises(InputError, match="holds 2 scans"):
        read_planar(tmp_path / "s")
