"""`python -m modelyard.workloads.export [fetch|isolated]`: the stages of an export's pod.

fetch       moves weights, and images for calibration, from the store; never loads the weights
isolated    loads a .pt file and writes what the exporter makes of it; has no credentials
(none)      checks that file, publishes it and reports; never loads a .pt file
"""

import sys

from modelyard.contract import paths
from modelyard.contract.run import ExportRun
from modelyard.workloads.export import convert, job
from modelyard.workloads.runner import main, main_stage

if __name__ == "__main__":
    if sys.argv[1:] == [paths.FETCH]:
        main_stage(job.fetch, ExportRun, paths.INPUTS)
    if sys.argv[1:] == [paths.ISOLATED]:
        main_stage(convert.handle, ExportRun, paths.OUTPUTS)
    main(job.handle, ExportRun)
