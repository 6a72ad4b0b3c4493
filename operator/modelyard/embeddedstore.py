"""The accounts of the embedded store: who may do what in which namespace's bucket.

The chart makes a key for each namespace and use, and lists them in a Secret that is mounted into
the store's pod. There an init container (`main`) writes what versitygw reads: its users, and for
each namespace a bucket with a policy. versitygw would take both over its administration API as
well, but only from a process that runs beside it for that; at each start, they follow the Secret.

One bucket per namespace, not one with prefixes: versitygw keeps a bucket's policy in an extended
attribute, for which ext4 has 4 kB.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

POLICY_BYTES = 3500
"""Largest policy that an extended attribute on ext4 (one block of 4 kB) surely holds."""


class Access(StrEnum):
    """What an account may do in its buckets."""

    WRITER = "Writer"
    """Jobs and users of one namespace: everything with objects."""
    READER = "Reader"
    """Agents of one namespace: read blobs."""
    INTAKE = "Intake"
    """The intake service, in all namespaces: put captured images, and nothing else."""
    COLLECTOR = "Collector"
    """The collector, in all namespaces: read and delete; write only its own state."""


class Account(BaseModel):
    """One key of the store."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    access: Access
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    """Empty for all namespaces."""
    access_key_id: str = Field(min_length=3, max_length=128)
    secret_access_key: str = Field(min_length=16, max_length=128)


class InvalidAccounts(Exception):
    """The list of accounts cannot be used; the message says why."""


_ACCOUNTS = TypeAdapter(list[Account])
_UPLOADS = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_GRANTS: Mapping[Access, Sequence[tuple[Sequence[str], Sequence[str]]]] = {
    Access.WRITER: (
        (("s3:ListBucket", "s3:ListBucketMultipartUploads"), ("",)),
        (("s3:GetObject", "s3:PutObject", "s3:DeleteObject", *_UPLOADS), ("/*",)),
    ),
    Access.READER: (
        # Without it, S3 answers "access denied" for a blob that is not there.
        (("s3:ListBucket",), ("",)),
        (("s3:GetObject",), ("/blobs/*",)),
    ),
    Access.INTAKE: ((("s3:PutObject",), ("/captures/*",)),),
    Access.COLLECTOR: (
        (("s3:ListBucket", "s3:ListBucketMultipartUploads"), ("",)),
        (("s3:GetObject", "s3:DeleteObject", *_UPLOADS), ("/*",)),
        (("s3:PutObject",), ("/_collector/*",)),
    ),
}
"""Actions, and resources as what follows the bucket's ARN."""


def parse(text: str, root: str) -> list[Account]:
    """The accounts of a Secret's `accounts.json`; `root` is the root's access key.

    Raises InvalidAccounts for what is not a list of accounts, or where one key stands for two.
    """
    try:
        accounts = _ACCOUNTS.validate_json(text)
    except ValidationError as error:
        # Only places and kinds of errors: the values are secrets.
        where = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise InvalidAccounts(f"accounts.json: {where}") from None
    seen = {root}
    for one in accounts:
        if one.access_key_id in seen:
            raise InvalidAccounts(
                f"accounts.json: the {one.access} of {one.namespace or 'all namespaces'} has the "
                "access key of another account; each needs its own"
            )
        seen.add(one.access_key_id)
        if (one.namespace is None) != (one.access in (Access.COLLECTOR, Access.INTAKE)):
            raise InvalidAccounts(
                "accounts.json: all accounts but the Collector and the Intake name a namespace"
            )
    return accounts


def users(accounts: Sequence[Account]) -> dict[str, Any]:
    """versitygw's users.json."""
    return {
        "accessAccounts": {
            one.access_key_id: {
                "access": one.access_key_id,
                "secret": one.secret_access_key,
                # May use buckets whose policies name it, and create none.
                "role": "user",
                "userID": 0,
                "groupID": 0,
                "projectID": 0,
            }
            for one in accounts
        }
    }


def policies(accounts: Sequence[Account], bucket_prefix: str) -> Iterator[tuple[str, str]]:
    """Each namespace's bucket and its policy, as JSON. Raises InvalidAccounts if one is too long
    for an extended attribute."""
    for namespace in sorted({one.namespace for one in accounts if one.namespace}):
        bucket = f"{bucket_prefix}{namespace}"
        statements = [
            {
                "Effect": "Allow",
                "Principal": {"AWS": [one.access_key_id]},
                "Action": list(actions),
                "Resource": [f"arn:aws:s3:::{bucket}{rest}" for rest in resources],
            }
            for one in accounts
            if one.namespace in (namespace, None)
            for actions, resources in _GRANTS[one.access]
        ]
        document = {"Version": "2012-10-17", "Statement": statements}
        text = json.dumps(document, separators=(",", ":"))
        if len(text) > POLICY_BYTES:
            raise InvalidAccounts(f"accounts.json: namespace {namespace} has too many accounts")
        yield bucket, text


def write(
    accounts: Sequence[Account],
    *,
    data: Path,
    users_folder: Path,
    bucket_prefix: str,
    sidecar: bool,
) -> list[str]:
    """Make the buckets with their policies, and the users; returns the buckets' names.

    `data` is the volume: versitygw serves `data/buckets`, and keeps metadata in `data/metadata`
    with `sidecar`, else in extended attributes. Idempotent.
    """
    made = []
    for bucket, policy in policies(accounts, bucket_prefix):
        folder = data / "buckets" / bucket
        folder.mkdir(parents=True, exist_ok=True)
        if sidecar:
            _replace(data / "metadata" / bucket / "meta" / "policy", policy)
        else:
            os.setxattr(folder, "user.policy", policy.encode())
        made.append(bucket)
    # Last: no user exists before the policies that limit it are in force.
    _replace(users_folder / "users.json", json.dumps(users(accounts)))
    return made


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the init container."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=Path, required=True, help="folder of the Secret")
    parser.add_argument("--data", type=Path, required=True, help="the store's volume")
    parser.add_argument("--users", type=Path, required=True, help="folder for versitygw's users")
    parser.add_argument("--bucket-prefix", required=True)
    parser.add_argument("--sidecar", action="store_true")
    options = parser.parse_args(arguments)
    file = options.accounts / "accounts.json"
    try:
        (options.data / "buckets").mkdir(parents=True, exist_ok=True)
        if options.sidecar:
            (options.data / "metadata").mkdir(exist_ok=True)
        if not file.exists():
            raise InvalidAccounts(
                "the Secret of the store's root has no accounts.json, so no namespace could use "
                "the store: add the list of accounts, see docs/store.md"
            )
        root = (options.accounts / "AWS_ACCESS_KEY_ID").read_text().strip()
        made = write(
            parse(file.read_text(), root),
            data=options.data,
            users_folder=options.users,
            bucket_prefix=options.bucket_prefix,
            sidecar=options.sidecar,
        )
    except (InvalidAccounts, OSError) as error:
        sys.exit(f"{error}")
    print(f"buckets: {', '.join(made)}")


if __name__ == "__main__":
    main()
