"""Which image files a person means."""

import glob
from collections.abc import Iterable
from pathlib import Path

from PIL import Image


def find(places: Iterable[str], leave_out: Path | None = None) -> list[Path]:
    """The files at these places, in this order; a place is a file, a folder of images or a pattern.

    Args:
        leave_out: a file that is no drawing though it lies in one of the folders.

    Raises:
        ValueError: if a place holds no image file.
    """
    found = [path for place in places for path in files_at(Path(place).expanduser(), leave_out)]
    return list(dict.fromkeys(found))


def files_at(place: Path, leave_out: Path | None) -> list[Path]:
    if place.is_dir():
        found = [path for path in sorted(place.iterdir()) if is_image(path, leave_out)]
        if not found:
            raise ValueError(f"expected images in the folder {place}, found none")
        return found
    if not place.exists():
        found = [Path(name) for name in sorted(glob.glob(str(place)))]
        if not found:
            raise ValueError(f"expected an image at {place}, got no such file")
        return found
    return [place]


def is_image(path: Path, leave_out: Path | None) -> bool:
    """By its name alone."""
    ours = leave_out is not None and path.resolve() == leave_out.resolve()
    known = Image.registered_extensions()
    return path.is_file() and path.suffix.lower() in known and not ours
