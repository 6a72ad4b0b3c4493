"""`python -m modelyard.workloads.data`."""

from modelyard.contract.run import DataRun
from modelyard.workloads.data.handler import handle
from modelyard.workloads.runner import main

if __name__ == "__main__":
    main(handle, DataRun)
