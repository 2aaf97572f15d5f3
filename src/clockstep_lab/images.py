"""The kinds of guest there are."""

from collections.abc import Callable, Mapping

from . import full, minimal
from .cache import Say
from .errors import LabError
from .image import Image

Images = Mapping[str, Callable[[Say], Image]]

IMAGES: Images = {
    "minimal": minimal.image,
    **full.images(),
}


def image_named(name: str, say: Say, images: Images = IMAGES) -> Image:
    """Build, or take from the cache, the image of this name. Raises LabError for a name that is none."""
    if name not in images:
        raise LabError(f"there is no image {name}", f"there are {', '.join(images)}")
    return images[name](say)
