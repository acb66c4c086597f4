"""Label files: one class a line, in the order of the model's outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from wire.errors import SettingsError

#: The 1000 classes of ImageNet-1k, by the names that torchvision gives them.
IMAGENET_1K = Path(__file__).with_name("imagenet-1k.txt")


def read_labels(path: Path) -> Tuple[str, ...]:
    """The class names in a label file: UTF-8, one a line, without blank lines and those that start with `#`.

    Raises:
        SettingsError: the file cannot be read, is not UTF-8, or names no class.
    """
    try:
        # A byte order mark, as Windows editors write it, must not become part of the first name.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError(f"label file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"label file {path}: not UTF-8 (byte {error.start}): save it as UTF-8") from error
    # Not splitlines(): it also breaks at characters that may stand within a name, such as U+2028.
    lines = (line.strip() for line in text.split("\n"))
    classes = tuple(line for line in lines if line and not line.startswith("#"))
    if not classes:
        raise SettingsError(f"label file {path}: it names no class")
    return classes
