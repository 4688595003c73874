import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from bonemets.data import check_leakage, planar_affine, write_datalist, write_nifti
from bonemets.data.lists.leakage import NEAR_DUPLICATE, similarity


def expected_counts(seed: int) -> np.ndarray:
    """A scan-like picture: the same outline for all, hot spots of its own."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:512, :128]
    body = 8.0 * (np.abs(columns - 64) < 35)
    spots = gaussian_filter((rng.random((512, 128)) < 0.02).astype(float), 3) * 1500
    return body + spots * (body > 0)


def scan(seed: int, noise: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, noise]).poisson(expected_counts(seed)).astype(np.uint16)


@pytest.fixture
def cohort(tmp_path):
    """Six patients with two views: p0-p3 in two folds, p4 and p5 for testing. Returns a way to write the list."""
    for number in range(6):
        for index, view in enumerate(("anterior", "posterior")):
            save(tmp_path, f"p{number}/{view}", scan(10 * number + index))

    def write(change=lambda training, testing: None):
        training, testing = [], []
        for number in range(6):
            for view in ("anterior", "posterior"):
                name = f"p{number}/{view}"
                item = {
                    "image": f"{name}.nii.gz",
                    "label": f"{name}_label.nii.gz",
                    "patient": f"p{number}",
                    "view": view,
                }
                (training if number < 4 else testing).append(item | ({"fold": number % 2} if number < 4 else {}))
        change(training, testing)
        write_datalist(tmp_path / "datalist.json", {"numFolds": 2, "training": training, "testing": testing})
        return check_leakage(tmp_path / "datalist.json")

    return write


def save(folder, name, counts):
    write_nifti(folder / f"{name}.nii.gz", counts, planar_affine(counts.shape, (2, 2)))
    write_nifti(folder / f"{name}_label.nii.gz", np.zeros(counts.shape, np.uint8), np.eye(4))


def test_clean_cohort(cohort):
    assert cohort() == []


def test_patient_in_two_folds(cohort):
    findings = cohort(lambda training, testing: training[1].update(fold=1))
    assert findings == ["patient p0 is in fold 0 and fold 1"]


def test_patient_in_training_and_testing(cohort):
    findings = cohort(lambda training, testing: testing[0].update(patient="p0"))
    assert findings == ["patient p0 is in fold 0 and testing"]


def test_view_listed_twice(cohort):
    findings = cohort(lambda training, testing: testing.append({**training[0], "patient": "other"}))
    assert any(finding.startswith("image p0/anterior.nii.gz is in fold 0 and testing") for finding in findings)
    assert any("near-duplicates" in finding for finding in findings)


@pytest.mark.parametrize(
    "alter",
    [
        lambda counts, rng: counts,
        lambda counts, rng: counts * 3,
        lambda counts, rng: rng.binomial(counts, 0.5).astype(np.uint16),
        lambda counts, rng: counts[:, ::-1],
        lambda counts, rng: np.roll(counts, (2, 1), axis=(0, 1)),
    ],
    ids=["copy", "brighter", "half the counts", "mirrored", "moved"],
)
def test_near_duplicate_under_another_name(cohort, tmp_path, alter):
    save(tmp_path, "p4/anterior", np.ascontiguousarray(alter(scan(0), np.random.default_rng(5))))
    findings = cohort()
    assert len(findings) == 1
    assert "p0/anterior.nii.gz (fold 0) and p4/anterior.nii.gz (testing) are near-duplicates" in findings[0]


def test_near_duplicate_inside_a_fold_is_no_leak(cohort, tmp_path):
    save(tmp_path, "p2/anterior", scan(0))
    assert cohort() == []


def test_similarity_separates():
    same = similarity([scan(1, noise=1)], [scan(1, noise=2)])
    other = similarity([scan(1)], [scan(2)])
    assert same.shape == (1, 1)
    assert same[0, 0] > NEAR_DUPLICATE + 0.05
    assert other[0, 0] < NEAR_DUPLICATE - 0.3
    np.testing.assert_allclose(similarity([scan(1)], [scan(1)]), 1, atol=1e-5)
