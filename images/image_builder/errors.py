"""The one error that building images raises on purpose."""


class ImageError(Exception):
    """An image cannot be built; the message says which, why, and what to do."""
