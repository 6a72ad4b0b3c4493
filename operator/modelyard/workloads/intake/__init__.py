"""The intake service: lets agents store captured images without keys of the store.

Run as `python -m modelyard.workloads.intake`, one Deployment of the chart (intake.enabled). An
agent sends its pod's token, made for this audience alone, with name, digest and size of a file:

    access.py    the API server says whose token it is (TokenReview), and whether the named
                 ModelServer belongs to that pod and is to capture at all
    limits.py    requests and bytes of each server
    service.py   answers with one signed PUT (store/presigning.py): this content, under
                 captures/<deployment>/<server>/ in the part of the pod's namespace, once

The bytes themselves go from the agent to the store. The service's key can do nothing but put
objects below captures/ (embeddedstore.py: Access.INTAKE), so neither this process nor a stolen
grant can read, replace or delete anything. A server's name is a claim that is checked, never a
credential.

Environment
    MODELYARD_NAMESPACES             workload namespaces, with commas between them
    MODELYARD_STORE__URL, …          the store, as for the operator
    MODELYARD_AGENT_ACCOUNT          name of the agents' service account
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    MODELYARD_INTAKE_REQUESTS, _BYTES    limits of each server: requests an hour, bytes a day
    MODELYARD_INTAKE_PORT            8070 by default
"""
