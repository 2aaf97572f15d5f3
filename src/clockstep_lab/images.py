"""The kinds of guest there are."""

from collections.abc import Callable

from . import minimal
from .cache import Say
from .errors import LabError
from .image import Image

IMAGES: dict[str, Callable[[Say], Image]] = {
    "minimal": minimal.image,
}


def image_named(name: str, say: Say) -> Image:
    """Build, or take from the cache, the image of this name. Raises LabError for a name that is none."""
    if name not in IMAGES:
        raise LabError(f"there is no image {name}", f"there are {', '.join(IMAGES)}")
    return IMAGES[name](say)
