"""Build the skeleton once from myo-sim's meshes and keep it in the user's cache folder.

Each bone is voxelized at 1.5 mm, turned into a signed-distance grid (kept, so that CT slices can be cut from the same
bodies) and sampled into a cloud of points that carry their volume, depth below the surface, distance to the bone's end
and distance to the neighboring bone. Building takes well below a minute; everything later only moves points.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from bonemets.simulation.skeleton.anatomy import BONE_IDS, BONES, REGIONS, bone_of_mesh, split_mesh
from bonemets.simulation.skeleton.kinematics import KinematicTree

if TYPE_CHECKING:
    from trimesh import Trimesh

BUILDER_VERSION = 3
"""Part of the cache's name: raise it whenever this file changes what is stored."""

GRID_MM = 1.5
"""Pitch of the signed-distance grids."""

_FINE_MM, _COARSE_MM = 1.5, 2.0
"""Pitch of the cloud: fine for thin bones, coarse (half as many points) for bones thicker than the camera resolves."""
_FINE_REGIONS = {"ribs", "clavicles", "scapulae", "hands"}

_GROWTH_MM = {"skull": 1.8, "cervical_spine": 1.0, "thoracic_spine": 1.0, "lumbar_spine": 1.6, "ribs": 0.9}
"""How far to move the surface outwards, where the mesh is thinner than the real bone: the ribs have 2-12 mL instead of
10-20 mL, the skull is a bare surface instead of a vault of about 6 mm, the discs are too wide."""

_NEIGHBOR_MM = 15.0
"""Distances to neighboring bones are measured up to here."""

Progress = Callable[[str, float], None]


def cache_folder(folder: Path | None = None) -> Path:
    """The folder that holds the skeleton: ``folder``, else $BONEMETS_CACHE, else the user's cache folder."""
    if folder is not None:
        return Path(folder)
    if os.environ.get("BONEMETS_CACHE"):
        return Path(os.environ["BONEMETS_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bonemets"


def cache_file(folder: Path | None = None) -> Path:
    """Path of the cached skeleton; its name changes with the builder and with myo-sim, so a stale one is never read."""
    return cache_folder(folder) / f"skeleton-{BUILDER_VERSION}-myo_sim-{version('myo-sim')}.npz"


def ensure_cache(folder: Path | None = None, progress: Progress | None = None) -> Path:
    """Return the path of the cached skeleton, building it first if it is missing or damaged.

    Several processes may call this at once: one builds, the others wait for it.

    Args:
        folder: cache folder (see :func:`cache_folder`).
        progress: called with a message and the share done (0 to 1) while building.

    Returns:
        An ``.npz`` file that exists and opens.
    """
    path = cache_file(folder)
    if _opens(path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        if not _opens(path):
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".skeleton-", suffix=".npz")
            try:
                with os.fdopen(handle, "wb") as file:
                    np.savez_compressed(file, allow_pickle=False, **build(progress or (lambda message, share: None)))
                Path(temporary).chmod(0o644)  # the temporary file is private, the cache may be shared
                Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
            for stale in path.parent.glob("skeleton-*.npz"):
                if stale != path:
                    stale.unlink(missing_ok=True)
    return path


def _opens(path: Path) -> bool:
    """Whether the file is a complete archive (its directory is written last)."""
    return path.exists() and zipfile.is_zipfile(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock on ``path``; the system releases it even if the process is killed."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(progress: Progress) -> dict[str, np.ndarray]:
    """Make the arrays of the cache from myo-sim's model (see `bonemets.simulation.skeleton.skeleton.Skeleton`)."""
    progress("loading the myo-sim skeleton", 0.0)
    model = _load_model()
    tree = KinematicTree.from_mujoco(model)
    rotations, positions = tree.poses({})
    meshes = _bone_meshes(model, rotations, positions)
    arrays: dict[str, np.ndarray] = tree.arrays()
    clouds: list[dict[str, np.ndarray]] = []
    bone_body = np.zeros(len(BONES) + 1, np.int32)
    for done, (mesh_bone, (body, mesh)) in enumerate(meshes.items()):
        progress(f"voxelizing {mesh_bone.replace('_', ' ')}", 0.05 + 0.85 * done / len(meshes))
        for bone, distance, origin in _distance_grids(mesh_bone, mesh):
            bone_body[BONE_IDS[bone]] = body
            arrays[f"sdf_{bone}"] = distance.astype(np.float16)
            arrays[f"origin_{bone}"] = origin
            clouds.append(_sample(bone, distance, origin))
    clouds.sort(key=lambda cloud: int(cloud["bone"][0]))
    progress("measuring distances between bones", 0.92)
    for cloud in clouds:
        body = bone_body[cloud["bone"][0]]
        cloud["rest"] = (cloud["position"] @ rotations[body].T + positions[body]).astype(np.float32)
    _measure_neighbors(clouds)
    for name in ("position", "rest", "bone", "depth", "volume", "end", "neighbor", "facing"):
        arrays[name] = np.concatenate([cloud[name] for cloud in clouds])
    hulls = [cloud["position"][ConvexHull(cloud["position"][::3]).vertices * 3] for cloud in clouds]
    arrays["hull"] = np.concatenate(hulls)
    arrays["hull_bone"] = np.repeat([cloud["bone"][0] for cloud in clouds], [len(hull) for hull in hulls])
    arrays["bone_body"] = bone_body
    progress("skeleton ready", 1.0)
    return arrays


def _load_model() -> Any:
    """The compiled MuJoCo model, without the log file and the warnings that loading it makes."""
    import mujoco
    import myo_sim

    mujoco.set_mju_user_warning(lambda message: None)  # else MUJOCO_LOG.TXT appears in the working directory
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model, _ = myo_sim.load("myofullbody")
    return model


def _bone_meshes(model: Any, rotations: np.ndarray, positions: np.ndarray) -> dict[str, tuple[int, Trimesh]]:
    """Bone → (index of its body, its mesh in the body's frame)."""
    import mujoco
    import trimesh

    bones: dict[str, tuple[int, Trimesh]] = {}
    for geom in range(model.ngeom):
        if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH:
            continue
        mesh_id, body = int(model.geom_dataid[geom]), int(model.geom_bodyid[geom])
        name = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_MESH, mesh_id)
        start, count = model.mesh_vertadr[mesh_id], model.mesh_vertnum[mesh_id]
        vertices = model.mesh_vert[start : start + count]
        start, count = model.mesh_faceadr[mesh_id], model.mesh_facenum[mesh_id]
        faces = model.mesh_face[start : start + count]
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        vertices = vertices @ turn.reshape(3, 3).T + model.geom_pos[geom]
        bone = bone_of_mesh(name)
        # process=True merges double vertices, without which no component is watertight
        if bone is not None:
            bones[bone] = (body, trimesh.Trimesh(vertices, faces, process=True))
            continue
        world = trimesh.Trimesh(vertices @ rotations[body].T + positions[body], faces, process=True)
        for part, component in split_mesh(name, list(world.split(only_watertight=False))).items():
            local = (component.vertices - positions[body]) @ rotations[body]
            bones[part] = (body, trimesh.Trimesh(local, component.faces, process=True))
    return bones


def _distance_grids(bone: str, mesh: Trimesh) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Voxelize a mesh; yields (bone, signed distance in mm, positive inside, origin of the grid in meters)."""
    pitch = GRID_MM / 1000
    occupied, origin = _voxelize(mesh, pitch)
    parts = {bone: occupied}
    if bone == "sternum":
        parts = _sternum_and_cartilage(occupied, origin, pitch)
    for name, inside in parts.items():
        # the voxels that the surface crosses count as distance 0
        distance = np.where(
            inside, ndimage.distance_transform_edt(inside) - 1, -ndimage.distance_transform_edt(~inside)
        )
        yield name, distance.astype(np.float32) * GRID_MM, origin


def _voxelize(mesh: Trimesh, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Occupied voxels (surface and inside) with a margin of three voxels, and the center of the first voxel.

    The triangles are sampled at a third of the pitch, all triangles of one size at once: twenty times faster than
    subdividing them, with the same voxels.
    """
    corners = mesh.vertices[mesh.faces]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    steps = np.maximum(np.ceil(edges / (pitch / 3)).astype(int), 1)
    origin = (np.floor(mesh.bounds[0] / pitch) - 3) * pitch
    shape = np.ceil((mesh.bounds[1] - origin) / pitch).astype(int) + 4
    surface = np.zeros(shape, bool)
    for n in np.unique(steps):
        u, v = np.meshgrid(np.arange(n + 1) / n, np.arange(n + 1) / n, indexing="ij")
        u, v = u[u + v < 1 + 1e-9], v[u + v < 1 + 1e-9]
        weights = np.stack([1 - u - v, u, v], axis=1)
        samples = np.einsum("wk,tkc->twc", weights, corners[steps == n]).reshape(-1, 3)
        surface[tuple(np.round((samples - origin) / pitch).astype(int).T)] = True
    return _fill(surface), origin


def _fill(surface: np.ndarray) -> np.ndarray:
    """Everything that cannot be reached from the corner of the grid without crossing the surface."""
    regions, _ = ndimage.label(~surface)
    return np.asarray(regions != regions[0, 0, 0])


def _sternum_and_cartilage(inside: np.ndarray, origin: np.ndarray, pitch: float) -> dict[str, np.ndarray]:
    """The mesh has both in one piece: the sternum is what lies within 21 mm of the middle (32 mm in the manubrium)."""
    vertical, lateral = 1, 2  # the trunk's frame has x to the front, y up and z to the right, as in OpenSim
    index = np.indices(inside.shape, sparse=True)
    place = [origin[i] + pitch * index[i] for i in range(3)]
    off_middle = np.abs(place[lateral] - np.median(place[lateral].ravel()[np.argwhere(inside)[:, lateral]]))
    heights = place[vertical].ravel()[np.argwhere(inside)[:, vertical]]
    near = off_middle < np.where(place[vertical] > np.percentile(heights, 88), 0.032, 0.021)
    return {"sternum": inside & near, "costal_cartilage": inside & ~near}


def _sample(bone: str, distance: np.ndarray, origin: np.ndarray) -> dict[str, np.ndarray]:
    """Points inside the bone (body frame, meters) with volume (mL), depth and distance to the bone's end (mm)."""
    region = REGIONS[bone]
    distance = distance + _GROWTH_MM.get(region, 0.0)
    spacing = _FINE_MM if region in _FINE_REGIONS else _COARSE_MM
    extent = (np.array(distance.shape) - 1) * GRID_MM
    axes = [np.arange(spacing / 2, length, spacing) for length in extent]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # jitter breaks the moire between the lattice and the camera's pixels
    lattice += np.random.default_rng(BONE_IDS[bone]).uniform(-0.5, 0.5, lattice.shape) * spacing
    depth = ndimage.map_coordinates(distance, lattice.T / GRID_MM, order=1, mode="nearest")
    share = np.clip(depth / spacing + 0.5, 0, 1)  # part of the cell that lies inside the bone
    keep = share > 0
    lattice, depth, share = lattice[keep], depth[keep], share[keep]
    centered = lattice - lattice.mean(axis=0)
    axis = np.linalg.svd(centered[::7], full_matrices=False)[2][0]
    along = centered @ axis
    return {
        "position": (lattice / 1000 + origin).astype(np.float32),
        "bone": np.full(len(lattice), BONE_IDS[bone], np.uint8),
        "depth": depth.astype(np.float32),
        "volume": (share * spacing**3 / 1000).astype(np.float32),
        "end": np.minimum(along - along.min(), along.max() - along).astype(np.float32),
    }


def _measure_neighbors(clouds: list[dict[str, np.ndarray]]) -> None:
    """Add each point's distance (mm) to the nearest other bone and that bone's label, in the rest pose."""
    limit = _NEIGHBOR_MM / 1000
    boxes = [(cloud["rest"].min(axis=0), cloud["rest"].max(axis=0)) for cloud in clouds]
    shells = [cloud["rest"][cloud["depth"] < 1.5][::2] for cloud in clouds]
    trees = [cKDTree(shell) for shell in shells]
    for i, cloud in enumerate(clouds):
        nearest = np.full(len(cloud["rest"]), _NEIGHBOR_MM, np.float32)
        facing = np.zeros(len(cloud["rest"]), np.uint8)
        for j, other in enumerate(clouds):
            low, high = boxes[j][0] - limit, boxes[j][1] + limit
            if i == j or (boxes[i][0] > high).any() or (boxes[i][1] < low).any():
                continue
            close = np.flatnonzero(((cloud["rest"] > low) & (cloud["rest"] < high)).all(axis=1))
            distance = trees[j].query(cloud["rest"][close], distance_upper_bound=limit)[0] * 1000
            better = distance < nearest[close]
            nearest[close[better]] = distance[better]
            facing[close[better]] = other["bone"][0]
        cloud["neighbor"], cloud["facing"] = nearest, facing
