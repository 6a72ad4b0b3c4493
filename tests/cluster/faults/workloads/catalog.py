"""All workloads. A new one is a module of its own and a line here; then `make faults-record`."""

from __future__ import annotations

from .dataset import DATASET
from .deletion import DELETION
from .deployment import DEPLOYMENT
from .drift import DRIFT
from .edge import EDGE_FLEET
from .rollback import ROLLBACK
from .settings import SETTINGS
from .shadow import SHADOWED
from .stories import STORIES
from .training import TRAINING
from .version import READY, REJECTED

_IN_ORDER = (
    DATASET, TRAINING, READY, REJECTED, DEPLOYMENT, DELETION, ROLLBACK, EDGE_FLEET, SHADOWED,
    SETTINGS, STORIES, DRIFT,
)  # fmt: skip
WORKLOADS = {one.name: one for one in _IN_ORDER}
