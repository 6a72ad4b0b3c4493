"""The servers of a Deployment as one thing: counts, sums and ordered groups, kept up to date server
by server, so that the change of one of five thousand costs what the change of one of five does.

`projections` says what is read of pods, ModelServers and nodes, `figures` adds up what servers
report, `fleet` groups the servers of one Deployment, and `fleets` feeds all fleets from the cache.
"""
