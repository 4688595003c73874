from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from bonemets.simulation import BONES, REGIONS
from bonemets.simulation.skeleton.anatomy import BONE_IDS, MIDPLANE_X
from bonemets.simulation.skeleton.skeleton_cache import _bone_meshes, _load_model, cache_file, cache_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return _load_model()


def test_every_bone_is_named_once():
    assert len(BONES) == len(set(BONES.values())) == len(REGIONS)
    assert min(BONES) == 1
    assert max(BONES) < 256, "labels must fit into uint8"
    ribs = [name for name in BONES.values() if name.startswith("rib_")]
    assert len(ribs) == 24
    assert [name for name in BONES.values() if REGIONS[name] == "lumbar_spine"] == ["L1", "L2", "L3", "L4", "L5"]
    assert sum(REGIONS[name] == "cervical_spine" for name in BONES.values()) == 7
    assert sum(REGIONS[name] == "hands" for name in BONES.values()) == 2 * 27
    assert sum(REGIONS[name] == "feet" for name in BONES.values()) == 2 * 26


def test_all_bones_of_the_model_are_found_and_the_logo_is_dropped(model, skeleton):
    meshes = _bone_meshes(model, *skeleton.tree.poses({}))
    assert set(meshes) == set(BONES.values()) - {"costal_cartilage"}  # cut from the sternum's mesh later
    assert len(meshes) >= 126
    for bone, (_, mesh) in meshes.items():
        if REGIONS[bone] in ("ribs", "sternum"):
            assert len(mesh.vertices) < 800, f"{bone} looks like the logo, which has 7564 vertices"
    assert set(np.unique(skeleton.bone)) == set(BONES)


def test_loading_the_model_writes_no_log(tmp_path):
    code = "from bonemets.simulation.skeleton.skeleton_cache import _load_model; _load_model()"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert list(tmp_path.iterdir()) == []
    assert result.stderr == ""


def test_kinematics_agree_with_mujoco(model, skeleton):
    import mujoco

    tree, rng = skeleton.tree, np.random.default_rng(3)
    data = mujoco.MjData(model)
    angles = {"elbow_flexion_r": 0.7, "shoulder_elv_l": 0.3, "knee_angle_r": 0.4, "hip_rotation_l": -0.3}
    angles |= {"ankle_angle_l": float(rng.uniform(-0.5, 0)), "lat_bending": 0.1}
    values = tree.joint_values(angles)
    for name, value in zip(tree.joint_names, values, strict=True):
        joint = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
        data.qpos[model.jnt_qposadr[joint]] = value
    mujoco.mj_kinematics(model, data)
    rotations, positions = tree.poses(angles)
    np.testing.assert_allclose(positions, data.xpos, atol=1e-9)
    np.testing.assert_allclose(rotations, data.xmat.reshape(-1, 3, 3), atol=1e-9)


def test_unknown_joint_is_refused(skeleton):
    with pytest.raises(ValueError, match="tail_wag"):
        skeleton.tree.poses({"tail_wag": 1.0})


def test_anatomy_is_in_place(skeleton):
    center = {name: skeleton.centers[label] for label, name in BONES.items()}
    for side, sign in (("right", -1), ("left", 1)):
        for bone in ("femur", "hip", "scapula", "rib", "humerus"):
            name = f"rib_{side}_5" if bone == "rib" else f"{bone}_{side}"
            assert sign * (center[name][0] - MIDPLANE_X) > 0.02
        assert center[f"patella_{side}"][1] < center[f"femur_{side}"][1] - 0.03, "the patella lies in front"
    spine = [f"C{i}" for i in range(1, 8)] + [f"T{i}" for i in range(1, 13)] + [f"L{i}" for i in range(1, 6)]
    heights = [center[bone][2] for bone in (*spine, "sacrum")]
    assert heights == sorted(heights, reverse=True)
    assert center["sternum"][1] < center["T6"][1] - 0.08


def test_left_mirrors_right(skeleton):
    for label, name in BONES.items():
        if name.endswith("_right"):
            left = skeleton.centers[BONE_IDS[name.replace("_right", "_left")]]
            right = skeleton.centers[label] * [-1, 1, 1] + [2 * MIDPLANE_X, 0, 0]
            np.testing.assert_allclose(left, right, atol=0.002)


def test_points_are_sorted_by_bone_and_volumes_are_human(skeleton):
    assert (np.diff(skeleton.bone.astype(int)) >= 0).all()
    volume = {name: float(skeleton.volume[skeleton.points_of(name)].sum()) for name in BONES.values()}
    assert 330 < volume["femur_right"] < 400
    assert 15 < volume["rib_right_6"] < 35
    assert 200 < volume["skull"] < 700
    assert 4.0 < sum(volume.values()) / 1000 < 8.0  # liters


def test_signed_distance_grid_agrees_with_the_points(skeleton):
    distance, origin = skeleton.signed_distance("femur_left")
    inside = np.argwhere(distance > 5) * 0.0015 + origin
    points = skeleton.position[skeleton.points_of("femur_left")]
    assert distance.dtype == np.float32
    assert (inside.min(axis=0) > points.min(axis=0)).all()
    assert (inside.max(axis=0) < points.max(axis=0)).all()


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BONEMETS_CACHE", str(tmp_path / "a"))
    assert cache_folder() == tmp_path / "a"
    monkeypatch.delenv("BONEMETS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache_folder() == tmp_path / "b" / "bonemets"
    assert cache_folder(tmp_path) == tmp_path
    assert "myo_sim-" in cache_file(tmp_path).name


@pytest.mark.slow
def test_two_processes_mend_a_damaged_cache_together(tmp_path, skeleton):
    path = cache_file(tmp_path)
    path.write_bytes(skeleton.file.read_bytes()[:100_000])
    (tmp_path / "skeleton-0-myo_sim-0.0.npz").write_bytes(b"stale")
    code = (
        "import sys; from pathlib import Path; from bonemets.simulation import load_skeleton;"
        "print(len(load_skeleton(Path(sys.argv[1])).bone))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0].strip() for process in processes]
    assert outputs == [str(len(skeleton.bone))] * 2
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".lock", ".npz"], "no temporary or stale file is left"
    with np.load(path) as mended, np.load(skeleton.file) as original:
        for name in ("position", "depth", "facing"):
            digests = [hashlib.sha256(arrays[name].tobytes()).hexdigest() for arrays in (mended, original)]
            assert digests[0] == digests[1]
