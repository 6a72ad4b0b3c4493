"""`python -m modelyard.workloads.train`: the pod of a TrainingJob."""

from modelyard.contract.run import TrainRun
from modelyard.workloads.runner import main
from modelyard.workloads.train.job import handle

if __name__ == "__main__":
    main(handle, TrainRun)
