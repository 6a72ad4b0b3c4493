"""Keeps some of the images that a server answers, for labelling; redacts, spools and uploads them.

    offer(Offered)          a sampled request and its answer, from the monitoring loop
      selection, strata     which reasons want it: random, uncertain, drifting, on demand
      redaction             faces (faces.py) and classes (network.py) become mosaics (mosaic.py),
                            in memory; the result is replayed
      spool                 the first write to a disk: the agent's cache
      uploading             asks the intake service (workloads/intake) for one PUT per file

What must hold, and where it is seen to:

- **No image in clear touches a disk** while redaction is on: pixels stay in memory until
  `redaction.prepare` has returned; what cannot be redacted is dropped. Requests come from a spool
  in memory (core/deployment/serverpod.py).
- **Random captures are uniform over time**: the day is cut into as many spans as images are wanted,
  and the sample with the smallest random number of each span is kept (strata.py). They are never
  merged, and never dropped for others (spool.py).
- **Exactly once**: each capture has an identifier, boot and counter, that is on the disk before
  anything is sent. The store accepts a file's name once (If-None-Match), and "it is there already"
  is success. So a kill between PUT and record changes nothing.

What a capture looks like, and its names in the store: contract/capture.py. What leaves a site, when
and in which form: docs/privacy.md.
"""

from modelyard.workloads.agent.capture.building import Capture
from modelyard.workloads.agent.capture.capturer import Capturer
from modelyard.workloads.agent.capture.offers import Identity, Offered

__all__ = ["Capture", "Capturer", "Identity", "Offered"]
