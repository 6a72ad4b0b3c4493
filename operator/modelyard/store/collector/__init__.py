"""The collector: removes what no object needs any more from a namespace's part of the store.

What: `collect` (collecting.py) lists the part, marks what is needed (marking.py), remembers since
when the rest is not (state.py), and deletes what has not been needed for a grace period
(sweeping.py). `usage` and `verify` (usage.py) only look.

Why nothing that is needed goes:

- **Needed** is every digest that any object of the namespace mentions anywhere, in spec or status,
  every one that a Job or pod of ours mentions (inputs of its run, the outcome in its termination
  message), every one in a pointer (mirrored weights; checkpoints and results of TrainingJobs that
  exist), and all that a needed JSON blob mentions (a dataset's shards, an artifact's file). So a
  stable, a candidate, a rollback target, a pinned holdout are needed because their objects exist,
  and core/references.py keeps those from being deleted.
- **Uploads going on** mention nothing yet: what was put since the oldest unfinished Job of the
  namespace began is left alone, and so is what is younger than the grace period.
- **Puts and sweeps do not cross**: fences.py.
- **A crash** loses nothing: everything that is deleted was unneeded before the run began, and the
  state that says since when is written in one piece before anything is deleted.
- **Doubt stops it**: an object, Job or pod that cannot be listed, a damaged index, or a part that
  belongs to another namespace ends the run for this part before anything is deleted.
- **Uploads that were begun and never ended** are no keys; abandoned.py ends the old ones.

Captured images below `captures/` go after their retention (captures.py).

The part's keys below `uploads/` and any others that we do not know are never deleted.
Where to look next: workloads/collect (the CronJob), cli/store.py (the commands).
"""

from modelyard.store.collector.collecting import Policy, Report, collect
from modelyard.store.collector.evidence import Evidence, evidence_of
from modelyard.store.collector.usage import Damage, verify

__all__ = ["Damage", "Evidence", "Policy", "Report", "collect", "evidence_of", "verify"]
