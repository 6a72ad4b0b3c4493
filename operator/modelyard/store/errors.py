"""Errors of a store, by their remedy: a retry, other credentials, or other data.

obstore raises FileNotFoundError, typed errors and, for much else, a GenericError whose text holds
the server's answer; `translated` turns them into the types here. Messages name store and key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

_NO_BUCKET = ("NoSuchBucket", "The specified bucket does not exist", "ContainerNotFound")
# Some S3 servers (versitygw) answer 404 to an unknown access key, so the code decides, not the
# status.
_NO_ACCESS = (
    "XAdminUserNotFound",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "AccessDenied",
    "403 Forbidden",
    "401 Unauthorized",
)
_S3_CODE = re.compile(r"<Code>(?P<code>[^<]+)</Code>(?:\s*<Message>(?P<message>[^<]*)</Message>)?")


class StoreError(Exception):
    """Base of the errors of a store."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or answers with errors; a retry may help."""


class BucketMissing(StoreUnavailable):
    """The bucket does not exist, or not yet if the store is being set up."""


class AccessDenied(StoreError):
    """The store rejects the credentials."""


class BlobMissing(StoreError):
    """There is no blob with this key."""


class DigestMismatch(StoreError):
    """The content does not match its digest."""


@contextmanager
def translated(store: str, key: str) -> Iterator[None]:
    """Raises obstore's errors as ours. `store` and `key` are for the message."""
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        raise translate(error, store, key) from error


def translate(error: Exception, store: str, key: str) -> StoreError:
    """Our error for one of obstore's."""
    text = str(error)
    where = f"{store}: {key}" if key else store
    detail = _detail(text)
    if any(code in text for code in _NO_BUCKET):
        return BucketMissing(
            f"{where}: the bucket does not exist; create it, or correct the store's URL"
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError) or any(
        code in text for code in _NO_ACCESS
    ):
        return AccessDenied(
            f"{where}: access denied ({detail}); check the credentials and what they may do"
        )
    if isinstance(error, FileNotFoundError):
        return BlobMissing(f"{where}: not found")
    return StoreUnavailable(f"{where}: the store cannot be used ({detail})")


def _detail(text: str) -> str:
    """The first line of obstore's text, or the code and message of S3's response in it."""
    if found := _S3_CODE.search(text):
        return ": ".join(part for part in found.groups() if part)
    first = text.partition("\n")[0].strip().rstrip(":").strip()
    return first if len(first) <= 300 else first[:299] + "…"
