"""The local cluster and the demo: the commands `modelyard cluster` and `modelyard demo`.

A distribution of its own, since people who run Modelyard on a cluster of theirs need neither.
`cluster` builds and keeps a Kubernetes on this machine and knows nothing of Modelyard; `demo`
installs the chart on such a cluster and follows the whole chain. The command-line interface finds
both through the entry points that `../pyproject.toml` declares.
"""
