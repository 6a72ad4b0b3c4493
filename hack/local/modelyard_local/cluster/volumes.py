"""Keeps local PersistentVolumes in stock: the default StorageClass of a local cluster.

A process beside kubelet (`python -m modelyard_local.cluster.volumes`) makes sure that some volumes
are always free, each a folder of the cluster's state folder, and empties and removes those whose
claim is gone. `local` volumes rather than `hostPath`: kubelet gives them the pod's fsGroup, so that
pods without root can write.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import time
from pathlib import Path

from modelyard_local.cluster.api import Api, Object
from modelyard_local.cluster.errors import ClusterError
from modelyard_local.cluster.paths import Layout
from modelyard_local.cluster.pki import Pair

STORAGE_CLASS = "local"
IN_STOCK = 8
_LABEL = "modelyard.dev/stock"
_INTERVAL = 2.0
_PATH = "/api/v1/persistentvolumes"


def storage_class() -> Object:
    """The default class; a claim binds when its first pod is scheduled."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Retain",
    }


def persistent_volume(name: str, folder: Path, node: str) -> Object:
    """One volume in stock. Its size is nominal (any claim fits): the disk is shared."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "labels": {_LABEL: "true"}},
        "spec": {
            "storageClassName": STORAGE_CLASS,
            "capacity": {"storage": "1Ti"},
            # One node: whatever may be shared at all is shared.
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {
                                    "key": "kubernetes.io/hostname",
                                    "operator": "In",
                                    "values": [node],
                                }
                            ]
                        }
                    ]
                }
            },
        },
    }


def keep_stock(api: Api, folder: Path, node: str) -> None:
    """One round: removes volumes whose claim is gone, tops up the free ones."""
    listed = api.get(f"{_PATH}?labelSelector={_LABEL}") or {"items": []}
    free = 0
    for volume in listed["items"]:
        name, phase = volume["metadata"]["name"], volume.get("status", {}).get("phase")
        if phase == "Released":
            # Data first: a volume object that is gone can no longer be found.
            shutil.rmtree(folder / name, ignore_errors=True)
            api.delete(f"{_PATH}/{name}")
        elif phase in ("Available", "Pending", None):
            free += 1
    for _ in range(IN_STOCK - free):
        name = f"local-{secrets.token_hex(4)}"
        (folder / name).mkdir(parents=True)
        # Any user of any pod writes here; the state folder above is root's alone.
        (folder / name).chmod(0o777)
        api.apply(f"{_PATH}/{name}", persistent_volume(name, folder / name, node))


def main() -> None:
    """Runs rounds until ended; an unreachable API server is only waited for."""
    parser = argparse.ArgumentParser(description="Keeps PersistentVolumes in stock.")
    parser.add_argument("root", type=Path, help="the cluster's state folder")
    parser.add_argument("--server", required=True, help="URL of the API server")
    parser.add_argument("--node", required=True, help="name of the node that holds the volumes")
    options = parser.parse_args()
    layout = Layout(options.root)
    identity = Pair(layout.pki / "volumes.crt", layout.pki / "volumes.key")
    api = Api(options.server, layout.pki / "ca.crt", identity)
    while True:
        try:
            keep_stock(api, layout.volumes, options.node)
        except (ClusterError, OSError) as error:
            print(f"{time.strftime('%FT%TZ', time.gmtime())} {error}", file=sys.stderr, flush=True)
        time.sleep(_INTERVAL)


if __name__ == "__main__":
    main()
