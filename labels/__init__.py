"""Label files: the names of a model's outputs, in their order, in any of the forms in which tools write them.

bytes ──> text ──> JSON, Python's dict ──────┐
                   YAML's list or names: ────┼──> names, by index where there are some
                   lines: names, or a table ─┘
"""

from __future__ import annotations

import ast
import codecs
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

from labels.lines import names_in_lines
from labels.values import names_beneath, names_in
from labels.yaml import names_in_yaml
from wire.errors import SettingsError

#: The 1000 classes of ImageNet-1k, by the names that torchvision gives them.
IMAGENET_1K = Path(__file__).with_name("imagenet-1k.txt")
#: Bytes: 100,000 long names.
_LARGEST = 16 << 20


def read_labels(path: Path) -> Tuple[str, ...]:
    """The class names in a label file, in the order of the outputs; `labels/README.md` lists the forms.

    Raises:
        SettingsError: the file cannot be read, is no text, names no class, or its indexes are not 0 to
            n - 1, each once.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise SettingsError(f"label file {path}: {error.strerror or error}") from error
    try:
        if len(content) > _LARGEST:
            raise ValueError("it is too large to be one")
        return _names(_text(content))
    except ValueError as error:
        raise SettingsError(f"label file {path}: {error}") from error


def _text(content: bytes) -> str:
    # The longer marks first: that of UTF-32 begins as that of UTF-16.
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"damaged {encoding.upper()} (byte {error.start}): save it as UTF-8"
                ) from error
    if b"\0" in content:
        raise ValueError("not text, or UTF-16 without its mark: save it as UTF-8")
    try:
        # A byte order mark, as Windows editors write it, must not become part of the first name.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte {error.start}): save it as UTF-8") from error


def _names(text: str) -> Tuple[str, ...]:
    # Not splitlines(): it also breaks at characters that may stand within a name, such as U+2028.
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise ValueError("it names no class")
    first = lines[0].strip().lower()
    if first.startswith("version https://git-lfs"):
        raise ValueError("a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned")
    if first.startswith(("<!doctype", "<html", "<?xml", "<annotation")):
        raise ValueError("a web page or XML, not a list of names")
    if first.startswith("item") and first.rstrip("{").rstrip() == "item":
        raise ValueError(
            "a label map of TensorFlow's object detection: write its names into a file, one a line"
        )
    stripped = "\n".join(lines).strip()
    # `[unknown]` above `cat` is a name; JSON has quotes, also where its end is missing.
    if stripped[0] + stripped[-1] in ("[]", "{}") or (stripped[0] in "[{" and '"' in stripped):
        return _of_value(_parsed(stripped))
    return names_in_yaml(lines) or names_in_lines([line.strip() for line in lines])


def _parsed(text: str) -> Any:
    """JSON, or a list or dict as Python prints it."""
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            raise ValueError(f"it looks like JSON, but is none: {error}") from error


def _without_duplicates(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        duplicate = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{duplicate!r} is there twice")
    return found


def _of_value(value: Any) -> Tuple[str, ...]:
    beneath = names_beneath(value) if isinstance(value, dict) else None
    return beneath or names_in(value)
