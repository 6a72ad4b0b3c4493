"""`python -m modelyard.workloads.evaluate [fetch|isolated|judge]`: the stages of its pod.

fetch       moves the holdout, the artifacts and the weights from the store; loads none of them
isolated    loads what can execute code (.pt files, engines) and writes boxes; has no credentials
            and does not see the labels
judge       judges those boxes, and the ONNX artifacts, against the labels, and measures the
            holdout's profile; has no credentials
(none)      publishes the profile and reports
"""

import sys

from modelyard.contract import paths
from modelyard.contract.run import EvaluateRun
from modelyard.workloads.evaluate import isolated, job, judge
from modelyard.workloads.runner import main, main_stage

if __name__ == "__main__":
    if sys.argv[1:] == [paths.FETCH]:
        main_stage(job.fetch, EvaluateRun, paths.INPUTS)
    if sys.argv[1:] == [paths.ISOLATED]:
        main_stage(isolated.handle, EvaluateRun, paths.OUTPUTS)
    if sys.argv[1:] == [paths.JUDGE]:
        main_stage(judge.handle, EvaluateRun, paths.JUDGED)
    main(job.handle, EvaluateRun)
