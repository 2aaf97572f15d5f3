"""The kinds of guest there are. Run as a program, it builds those that the cache lacks."""

import sys
from collections.abc import Callable, Mapping

from . import full, minimal
from .cache import Say
from .errors import LabError
from .image import Image
from .kubernetes import node

Images = Mapping[str, Callable[[Say], Image]]

IMAGES: Images = {
    "minimal": minimal.image,
    **full.images(),
    node.NAME: node.image,
}


def image_named(name: str, say: Say, images: Images = IMAGES) -> Image:
    """Build, or take from the cache, the image of this name. Raises LabError for a name that is none."""
    if name not in images:
        raise LabError(f"there is no image {name}", f"there are {', '.join(images)}")
    return images[name](say)


if __name__ == "__main__":
    for image_name in IMAGES:
        image_named(image_name, lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
