"""Former names of modules and classes: configurations and checkpoints of older versions keep loading.

A configuration's ``_target_`` and a weights record's ``network_def`` name classes by their module. Importing a former
name gives the module that has its content now; a former name that is a package today passes on what was in the module.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

# Former module: where its content is. Names are relative to the package.
MODULES = {
    "data.adapters.build": "data.lists.build",
    "data.adapters.check": "data.lists.check",
    "data.adapters.pairing": "data.lists.pairing",
    "data.adapters.patients": "data.lists.patients",
    "data.ct": "data.ct.scan",
    "data.ct_dicom": "data.ct.dicom",
    "data.ct_reader": "data.ct.reader",
    "data.ct_study": "data.ct.study",
    "data.datalist": "data.lists.datalist",
    "data.folds": "data.lists.folds",
    "data.formats": "data.planar.formats",
    "data.geometry": "data.planar.geometry",
    "data.leakage": "data.lists.leakage",
    "data.nuclear": "data.planar.nuclear",
    "data.nuclear_views": "data.planar.nuclear_views",
    "data.planar": "data.planar.scan",
    "data.reader": "data.planar.reader",
    "data.sampling": "engines.sampling",
    "data.study": "data.planar.study",
    "dicom.seg_ct": "dicom.ct_seg",
    "dicom.sr_ct": "dicom.ct_sr",
    "engines.bundles": "bundle.folders",
    "engines.config_errors": "bundle.config_errors",
    "engines.loading": "bundle.loading",
    "engines.provenance": "bundle.provenance",
    "engines.scans": "bundle.scans",
    "engines.short_errors": "bundle.short_errors",
    "engines.starting_weights": "bundle.loading",
    "engines.sweep": "sweep.run",
    "engines.sweep_spec": "sweep.spec",
    "engines.sweep_training": "sweep.training",
    "engines.sweep_trial": "sweep.trial",
    "engines.weights": "bundle.weights",
    "handlers.case_table": "handlers.mlflow.case_table",
    "handlers.inference_tracking": "handlers.mlflow.inference",
    "handlers.leftover_gradients": "handlers.partial_accumulation",
    "handlers.mlflow_model": "handlers.mlflow.model",
    "handlers.mlflow_store": "handlers.mlflow.store",
    "handlers.run_description": "handlers.mlflow.run_description",
    "handlers.scan_overlays": "handlers.mlflow.scan_overlays",
    "handlers.tracking": "handlers.mlflow.tracking",
    "labeling.access": "labeling.server.access",
    "labeling.app": "labeling.server.app",
    "labeling.archive": "labeling.intake.archive",
    "labeling.bundle_infer": "labeling.tasks.bundle_infer",
    "labeling.bundle_model": "labeling.tasks.bundle_model",
    "labeling.bundle_train": "labeling.tasks.bundle_train",
    "labeling.choosing": "labeling.tasks.choosing",
    "labeling.compat": "labeling.server.compat",
    "labeling.datastore": "labeling.store.datastore",
    "labeling.environment": "labeling.server.environment",
    "labeling.exchange": "labeling.exchange.exchange",
    "labeling.history": "labeling.store.history",
    "labeling.importing": "labeling.exchange.importing",
    "labeling.launch": "labeling.server.launch",
    "labeling.masks": "labeling.store.masks",
    "labeling.modalities": "data.modalities",
    "labeling.proposed": "labeling.tasks.proposed",
    "labeling.scores": "labeling.tasks.scores",
    "labeling.scoring": "labeling.tasks.scoring",
    "labeling.segmentations": "labeling.exchange.segmentations",
    "labeling.server": "labeling.server.server",
    "labeling.shared_datastore": "labeling.store.shared_datastore",
    "labeling.sources": "labeling.intake.sources",
    "labeling.strategies": "labeling.tasks.strategies",
    "labeling.studies": "labeling.intake.studies",
    "labeling.workspace": "labeling.store.workspace",
    "metrics.agreement": "metrics.evaluation.agreement",
    "metrics.breakdown": "metrics.evaluation.breakdown",
    "metrics.cohort": "metrics.evaluation.cohort",
    "metrics.comparison": "metrics.comparison.comparison",
    "metrics.evaluation": "metrics.evaluation.evaluation",
    "metrics.intervals": "metrics.comparison.intervals",
    "metrics.lesion_formulas": "metrics.evaluation.lesion_formulas",
    "metrics.measures": "metrics.evaluation.measures",
    "metrics.paired_runs": "metrics.comparison.paired_runs",
    "metrics.pooling": "metrics.comparison.pooling",
    "metrics.predictions": "metrics.evaluation.predictions",
    "metrics.segmented": "metrics.evaluation.segmented",
    "metrics.simulated": "metrics.evaluation.simulated",
    "metrics.sweeps": "metrics.comparison.sweeps",
    "networks.blocks.affp": "networks.blocks.context.affp",
    "networks.blocks.aspp": "networks.blocks.context.aspp",
    "networks.blocks.attention": "networks.blocks.attention.attention",
    "networks.blocks.carafe": "networks.blocks.upsampling.carafe",
    "networks.blocks.cbam": "networks.blocks.attention.cbam",
    "networks.blocks.cdc": "networks.blocks.context.cdc",
    "networks.blocks.convolutions": "networks.blocks.layers.convolutions",
    "networks.blocks.dac": "networks.blocks.context.dac",
    "networks.blocks.dual_pooling": "networks.blocks.pooling.dual_pooling",
    "networks.blocks.dysample": "networks.blocks.upsampling.dysample",
    "networks.blocks.eca": "networks.blocks.attention.eca",
    "networks.blocks.frm": "networks.blocks.context.frm",
    "networks.blocks.fsm": "networks.blocks.context.fsm",
    "networks.blocks.gam": "networks.blocks.attention.gam",
    "networks.blocks.lsk": "networks.blocks.attention.lsk",
    "networks.blocks.mobilenet_v2": "networks.blocks.encoders.mobilenet_v2",
    "networks.blocks.msfe": "networks.blocks.context.msfe",
    "networks.blocks.multi_pooling": "networks.blocks.pooling.multi_pooling",
    "networks.blocks.multi_scale": "networks.blocks.context.multi_scale",
    "networks.blocks.non_local": "networks.blocks.attention.non_local",
    "networks.blocks.padding": "networks.blocks.layers.padding",
    "networks.blocks.parallel_branches": "networks.blocks.context.parallel_branches",
    "networks.blocks.parnet": "networks.blocks.attention.parnet",
    "networks.blocks.pscan": "networks.blocks.attention.pscan",
    "networks.blocks.pyramid_fusion": "networks.blocks.pooling.pyramid_fusion",
    "networks.blocks.resnet_encoder": "networks.blocks.encoders.resnet_encoder",
    "networks.blocks.rfb": "networks.blocks.context.rfb",
    "networks.blocks.rmp": "networks.blocks.pooling.rmp",
    "networks.blocks.rms": "networks.blocks.context.rms",
    "networks.blocks.sc_skip": "networks.blocks.layers.sc_skip",
    "networks.blocks.sge": "networks.blocks.attention.sge",
    "networks.blocks.shifted_mlp": "networks.blocks.transformer.shifted_mlp",
    "networks.blocks.simam": "networks.blocks.attention.simam",
    "networks.blocks.sppm": "networks.blocks.context.sppm",
    "networks.blocks.transformer": "networks.blocks.transformer.transformer",
    "networks.blocks.upsampling": "networks.blocks.upsampling.upsampling",
    "networks.blocks.vit": "networks.blocks.transformer.vit",
    "networks.nets.cenet": "networks.nets.comparators.cenet",
    "networks.nets.double_unet": "networks.nets.comparators.double_unet",
    "networks.nets.monai_networks": "networks.nets.comparators.monai_networks",
    "networks.nets.pspnet": "networks.nets.comparators.pspnet",
    "networks.nets.resunetplusplus": "networks.nets.comparators.resunetplusplus",
    "networks.nets.segnet": "networks.nets.comparators.segnet",
    "networks.nets.transunet": "networks.nets.comparators.transunet",
    "networks.nets.unet": "networks.nets.comparators.unet",
    "networks.nets.unet3plus": "networks.nets.comparators.unet3plus",
    "reporting.checks": "reporting.study.checks",
    "reporting.compare_page": "reporting.comparison.page",
    "reporting.ct_findings": "reporting.study.ct_findings",
    "reporting.ct_pictures": "reporting.study.ct_pictures",
    "reporting.ct_results": "reporting.study.ct_results",
    "reporting.evaluation_figures": "reporting.evaluation.figures",
    "reporting.evaluation_page": "reporting.evaluation.page",
    "reporting.findings": "reporting.study.findings",
    "reporting.results": "reporting.study.results",
    "reporting.run_comparison": "reporting.comparison.runs",
    "reporting.sweep_measurements": "sweep.measurements",
    "reporting.sweep_page": "sweep.page",
    "reporting.sweep_summary": "sweep.summary",
    "reporting.tracked_runs": "reporting.comparison.tracked_runs",
    "simulation.anatomy": "simulation.skeleton.anatomy",
    "simulation.benign": "simulation.patient.benign",
    "simulation.body": "simulation.patient.body",
    "simulation.body_outline": "simulation.patient.body_outline",
    "simulation.body_shape": "simulation.patient.body_shape",
    "simulation.camera": "simulation.bone_scan.camera",
    "simulation.ct_abdomen": "simulation.ct.abdomen",
    "simulation.ct_bones": "simulation.ct.bones",
    "simulation.ct_chest": "simulation.ct.chest",
    "simulation.ct_folder": "simulation.ct.folder",
    "simulation.ct_frame": "simulation.ct.frame",
    "simulation.ct_head": "simulation.ct.head",
    "simulation.ct_landmarks": "simulation.ct.landmarks",
    "simulation.ct_lesions": "simulation.ct.lesions",
    "simulation.ct_levels": "simulation.ct.levels",
    "simulation.ct_plane": "simulation.ct.plane",
    "simulation.ct_slices": "simulation.ct.slices",
    "simulation.ct_subject": "simulation.ct.subject",
    "simulation.ct_wall": "simulation.ct.wall",
    "simulation.dermoscopy": "simulation.dermoscopy.image",
    "simulation.dermoscopy_artifacts": "simulation.dermoscopy.artifacts",
    "simulation.grid": "simulation.patient.grid",
    "simulation.kinematics": "simulation.skeleton.kinematics",
    "simulation.lesions": "simulation.patient.lesions",
    "simulation.organs": "simulation.patient.organs",
    "simulation.patient": "simulation.patient.patient",
    "simulation.picture_cohort": "simulation.dermoscopy.cohort",
    "simulation.pose": "simulation.skeleton.pose",
    "simulation.pose_draws": "simulation.skeleton.pose_draws",
    "simulation.skeleton": "simulation.skeleton.skeleton",
    "simulation.skeleton_cache": "simulation.skeleton.skeleton_cache",
    "simulation.spots": "simulation.patient.spots",
    "simulation.study": "simulation.bone_scan.study",
    "simulation.subject": "simulation.patient.subject",
    "simulation.truth": "simulation.bone_scan.truth",
    "simulation.uptake": "simulation.patient.uptake",
}
# Former name of a class or function: its name today, in the same package.
NAMES = {
    "handlers.LeftoverGradients": "PartialAccumulation",
    "handlers.partial_accumulation.LeftoverGradients": "PartialAccumulation",
}
_PACKAGE = __package__ + "."


class FormerNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module under its former name. Asked last, so a module that exists is never hidden."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's specification, if the name is a former one."""
        if fullname.removeprefix(_PACKAGE) not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self)

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of today in the place of the empty one that the import system made."""
        former = module.__name__
        sys.modules[former] = importlib.import_module(_PACKAGE + MODULES[former.removeprefix(_PACKAGE)])


def passed_on(package: str) -> Callable[[str], Any]:
    """A package's ``__getattr__`` for names that were in it, or in a module of its name, in older versions."""

    def attribute(name: str) -> Any:
        inner = package.removeprefix(_PACKAGE)
        if renamed := NAMES.get(f"{inner}.{name}"):
            return getattr(importlib.import_module(package), renamed)
        # ``from package import module`` asks for an attribute first: that of today must not import the former module.
        if inner in MODULES and not name.startswith("__") and importlib.util.find_spec(f"{package}.{name}") is None:
            found = importlib.import_module(_PACKAGE + MODULES[inner])
            if hasattr(found, name):
                return getattr(found, name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return attribute


def install() -> None:
    """Let former names be imported; a second call does nothing."""
    if not any(isinstance(finder, FormerNames) for finder in sys.meta_path):
        sys.meta_path.append(FormerNames())
