"""`modelyard demo`: the whole chain on one machine, from data to a version swapped under load.

`command` defines the options; `environment` brings up cluster, images and chart; `chain` applies
the examples and follows them; `load` keeps sending requests while a version is swapped;
`agreement` compares predictions with labels; `screen` shows progress.
"""
