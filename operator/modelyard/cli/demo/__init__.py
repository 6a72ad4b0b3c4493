"""`modelyard demo`: the whole chain on one machine, told as it happens.

`environment` brings up cluster, images and chart; `chain` applies the examples and follows them;
`load` keeps asking the servers while a version is swapped; `summary` keeps the figures; `screen`
tells a person.
"""
