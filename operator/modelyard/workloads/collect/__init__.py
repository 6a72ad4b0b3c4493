"""The collector's CronJob: lists the objects of each workload namespace, runs the collector on its
part of the store (store/collector), and writes what it found into one ConfigMap, which the operator
shows as metrics (runtime/storeusage.py)."""
