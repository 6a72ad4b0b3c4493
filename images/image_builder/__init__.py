"""Builds Modelyard's container images with Docker, Podman or buildah; standard library only.

`build()` is what `python images/build.py` and the demo call. images/README.md explains the rules.
"""

from .errors import ImageError
from .pipeline import build, plan
from .progress import Callback, Progress
from .refs import ImageRef

__all__ = ["Callback", "ImageError", "ImageRef", "Progress", "build", "plan"]
