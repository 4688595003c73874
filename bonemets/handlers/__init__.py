"""Ignite handlers that MONAI lacks: exact resuming, weights with a record, one tracked run, reports."""

from bonemets.handlers.best_model import BestModel
from bonemets.handlers.early_stop import EarlyStop
from bonemets.handlers.epoch_log import EpochLog
from bonemets.handlers.epoch_seed import EpochSeed
from bonemets.handlers.evaluation_report import EvaluationReport
from bonemets.handlers.finite_loss import FiniteLoss
from bonemets.handlers.mlflow.inference import InferenceTracking
from bonemets.handlers.mlflow.scan_overlays import ScanOverlays
from bonemets.handlers.mlflow.tracking import MLflowTracking
from bonemets.handlers.partial_accumulation import PartialAccumulation
from bonemets.handlers.patient_metrics import PatientMetrics
from bonemets.handlers.pixel_metric import PixelMetric
from bonemets.handlers.training_state import TrainingState
from bonemets.handlers.weights_check import WeightsCheck
from bonemets.moved import passed_on

__all__ = [
    "BestModel",
    "EarlyStop",
    "EpochLog",
    "EpochSeed",
    "EvaluationReport",
    "FiniteLoss",
    "InferenceTracking",
    "PartialAccumulation",
    "MLflowTracking",
    "PatientMetrics",
    "PixelMetric",
    "ScanOverlays",
    "TrainingState",
    "WeightsCheck",
]

__getattr__ = passed_on(__name__)
