"""Datasets: fetch, check, publish as an immutable version; materialize it for training.

`python -m modelyard.workloads.data` is the Job of a Dataset. The other workloads use
`materialize` alone.
"""

from modelyard.workloads.data.materialize import materialize, read_index

__all__ = ["materialize", "read_index"]
