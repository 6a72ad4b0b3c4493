"""`python -m modelyard.workloads.export`: the pod that makes one artifact of a ModelVersion."""

from modelyard.contract.run import ExportRun
from modelyard.workloads.export.job import handle
from modelyard.workloads.runner import main

if __name__ == "__main__":
    main(handle, ExportRun)
