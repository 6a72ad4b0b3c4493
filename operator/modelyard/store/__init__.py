"""Content-addressed artifacts in S3, Google Cloud Storage, Azure Blob Storage or a directory.

A blob's key is its sha256 digest, so blobs never change, equal content is stored once, and every
read is verified. Pointers are small mutable JSON documents under the keys of `contract.paths`.
"""

from modelyard.store.digests import sha256_bytes, sha256_file
from modelyard.store.errors import (
    AccessDenied,
    BlobMissing,
    BucketMissing,
    DigestMismatch,
    StoreError,
    StoreUnavailable,
)
from modelyard.store.store import Store

__all__ = [
    "AccessDenied",
    "BlobMissing",
    "BucketMissing",
    "DigestMismatch",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "sha256_bytes",
    "sha256_file",
]
