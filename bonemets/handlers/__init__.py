"""Ignite handlers that MONAI lacks: exact resuming, weights with a record, one tracked run, reports."""

from bonemets.handlers.best_model import BestModel
from bonemets.handlers.early_stop import EarlyStop
from bonemets.handlers.epoch_log import EpochLog
from bonemets.handlers.epoch_seed import EpochSeed
from bonemets.handlers.evaluation_report import EvaluationReport
from bonemets.handlers.inference_tracking import InferenceTracking
from bonemets.handlers.leftover_gradients import LeftoverGradients
from bonemets.handlers.patient_metrics import PatientMetrics
from bonemets.handlers.pixel_metric import PixelMetric
from bonemets.handlers.scan_overlays import ScanOverlays
from bonemets.handlers.tracking import MLflowTracking
from bonemets.handlers.training_state import TrainingState

__all__ = [
    "BestModel",
    "EarlyStop",
    "EpochLog",
    "EpochSeed",
    "EvaluationReport",
    "InferenceTracking",
    "LeftoverGradients",
    "MLflowTracking",
    "PatientMetrics",
    "PixelMetric",
    "ScanOverlays",
    "TrainingState",
]
