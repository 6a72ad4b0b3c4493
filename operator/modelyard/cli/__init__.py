"""Command-line interface: `modelyard`, also as the kubectl plugin `kubectl modelyard`.

It reads and annotates objects through a kubeconfig and never imports `core`: what a command shows
is what the operator has written into the status. `main.py` registers the commands. A command is a
module that parses options and prints (`status.py`, `rollout.py`, `history.py`, `predict.py`,
`weights.py`); the pure modules beside it turn objects into values and text (`chain.py`,
`rolloutview.py`, `rolloutdraw.py`, `rollouthistory.py`). `kube.py` talks to the API server,
`errors.py` defines the errors and exit codes.
"""
