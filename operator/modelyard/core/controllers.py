"""All controllers, for the engine."""

from __future__ import annotations

from modelyard.core.dataset.decide import CONTROLLER as DATASET
from modelyard.core.deployment.decide import CONTROLLER as DEPLOYMENT
from modelyard.core.modelversion.decide import CONTROLLER as MODEL_VERSION
from modelyard.core.plan import Controller
from modelyard.core.trainingjob.decide import CONTROLLER as TRAINING_JOB

CONTROLLERS: tuple[Controller, ...] = (DATASET, TRAINING_JOB, MODEL_VERSION, DEPLOYMENT)
