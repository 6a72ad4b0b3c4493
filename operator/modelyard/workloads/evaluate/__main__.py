"""`python -m modelyard.workloads.evaluate`: the pod that judges a ModelVersion's artifacts."""

from modelyard.contract.run import EvaluateRun
from modelyard.workloads.evaluate.job import handle
from modelyard.workloads.runner import main

if __name__ == "__main__":
    main(handle, EvaluateRun)
