"""The agent beside Triton: brings its server to the version that its ModelServer names.

Run as `python -m modelyard.workloads.agent`. What it needs of its pod:

Environment
    POD_NAME, POD_NAMESPACE, NODE_NAME   downward API (metadata.name, metadata.namespace,
                                         spec.nodeName); the ModelServer is named like the pod,
                                         or with AgentRun.edge after Deployment and node
    AWS_ACCESS_KEY_ID, …                 read access to the store; optional
    MODELYARD_CACHE_BYTES                quota of the artifact cache, by default the run spec's,
                                         else 4 GiB; optional
    MODELYARD_RUN, _TRITON, _TRITON_METRICS, _CONTROL_KEY_FILE, _MODELS, _CACHE, _SPOOL,
    _CREDENTIALS, _PROBE_PORT            see `settings.py`; the defaults fit a pod
Mounts
    /etc/modelyard          downward API volume: run.json from the pod annotation RUN_ANNOTATION
    /models                 writable, shared with Triton, which needs it read-only; emptyDir
    /var/cache/modelyard    writable; emptyDir, or a folder of the node that outlives the pod
                            (one for each Modelyard Deployment), and then the server serves what
                            it served when the node boots without a network. One agent at a time
                            fetches into it
    /run/modelyard/control  shared with Triton, which writes it; read-only here; emptyDir in memory:
                            the key that authorises model control (`contract/control.py`)
    /spool                  writable, shared with Triton, which writes it too; emptyDir in memory:
                            copies of requests for a shadowed version
    /var/run/secrets/kubernetes.io/serviceaccount   projected volume, in the agent only: token
                            (serviceAccountToken), ca.crt (ConfigMap kube-root-ca.crt); the pod
                            has automountServiceAccountToken: false
    /tmp                    emptyDir; the root file system may be read-only
Users
    Both containers share a group that may write /models (fsGroup); any uid.
Ports
    8090 `probes`: /readyz, /healthz, /metrics (Prometheus)
Probes
    The readiness probe of *the Triton container* is httpGet /readyz on 8090 (period 2 s, timeout
    2 s, failureThreshold 3): the Service then routes only to pods whose model answers. The agent
    itself has none, so an agent that restarts, which takes a second or two, does not take a
    serving pod out of its Service for longer than its container is down. The agent's liveness
    probe is httpGet /healthz on 8090 (period 20 s, timeout 5 s, failureThreshold 6).
Resources
    About 100 MB of memory at rest; 100m CPU and 256Mi are enough. The cache's volume holds the
    quota, /models two versions, three while one is shadowed.
Lifecycle
    Triton: preStop sleep of 5 s, so that routes disappear before it stops; its own
    --exit-timeout-secs lets requests in flight finish. Agent: no preStop. On SIGTERM it changes
    nothing any more, keeps answering probes for as long as Triton answers (at most 20 s), makes
    its last report, and exits. terminationGracePeriodSeconds: 40. Kubernetes itself takes a
    terminating pod out of the Service, so readiness keeps its meaning: the model
    answers; an agent that alone is asked to stop does not end serving.
RBAC (in the pod's namespace)
    modelyard.dev modelservers: list, watch; modelservers/status: patch; deployments: get

Modules: `settings` (environment), `apiserver` (a small client), `watch` (where the assignment
comes from), `artifacts` (the cache), `inuse` (what must stay there), `memory` (what was served
last and before, on disk), `retry` (when to try again), `failures` (what an error means),
`hardware`, `loader` (brings Triton there); beside it `fetching` (gives way to the loader),
`prestage` (fetches a version ahead), `shadow` (runs a version beside) with `comparison` (counts how
it compares); `traffic`, `sampler` and `window` (what the version does), `status` (what the
ModelServer says), `report` (writes it), `probes`, `metrics`, `agent` (runs them side by side).
"""
