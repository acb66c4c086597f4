"""`nanofleet models list`, `show` and `download`: the models that have a name."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List
from urllib.parse import urlparse

from rich.table import Table

from fleet.console import open_console
from fleet.models.settings import DownloadSettings, ListSettings, ShowSettings
from wire.errors import NanofleetError
from wire.printable import show as print_plain
from worker.models import catalog
from worker.models.info import ALIASES, EFFICIENTNET_LITE0
from worker.models.weights import efficientnet_lite0_file, fetch


def list_models(settings: ListSettings) -> int:
    """Print every model, in the order of its name; returns the exit code."""
    found = [{"name": name, **_all_facts(name)[0]} for name in catalog.names()]
    if settings.json_:
        _print_json(found)
        return 0
    table = Table(box=None, pad_edge=False)
    table.add_column("name")
    table.add_column("weights")
    for column in ("top-1 %", "parameters", "GFLOPs", "MB", "pixels"):
        table.add_column(column, justify="right")
    for model in found:
        table.add_row(
            model["name"],
            model["weights"],
            _shown(model["top1"], "{:.1f}"),
            _shown(model["parameters"] and model["parameters"] / 1e6, "{:.1f} M"),
            _shown(model["gflops"], "{:.2f}"),
            _shown(model["megabytes"], "{:.0f}"),
            str(model["pixels"]),
        )
    console = open_console()
    console.print(table)
    shorts = ", ".join(f"{short} = {name}" for short, name in ALIASES.items())
    console.print()
    console.print(f"{len(found)} models; {shorts}. - : this torchvision does not say.")
    return 0


def show(settings: ShowSettings) -> int:
    """Print all weights of one model; returns the exit code.

    Raises:
        SettingsError: there is no such model.
    """
    name = catalog.canonical(settings.name)
    found = [{"name": name, **facts} for facts in _all_facts(name)]
    for facts in found:
        path = _kept_at(facts["url"], settings.weights_dir)
        facts["path"], facts["present"] = str(path), os.access(path, os.F_OK)
    if settings.json_:
        _print_json(found)
        return 0
    console = open_console()
    for facts in found:
        recipe = facts["preprocessing"]
        console.print(f"{name}@{facts['weights']}", style="bold")
        console.print(
            f"  top-1 {_shown(facts['top1'], '{:.2f} %')}, "
            f"{_shown(facts['parameters'] and facts['parameters'] / 1e6, '{:.1f} M')} parameters, "
            f"{_shown(facts['gflops'], '{:.2f}')} GFLOPs, {facts['classes']} classes"
        )
        console.print(
            f"  resize {recipe['resize']} ({recipe['interpolation']}), crop {recipe['crop']}, "
            f"mean {recipe['mean']}, std {recipe['std']}"
        )
        for what in ("recipe", "license", "url"):
            if facts[what]:
                console.print(f"  {what:<9}{facts[what]}")
        console.print(f"  {'kept at' if facts['present'] else 'not yet'}  {facts['path']}")
    return 0


def download(settings: DownloadSettings) -> int:
    """Download the weights of some models; one that fails is named, and the others go on.

    Returns:
        The exit code: 0 if all are there, else 1.

    Raises:
        SettingsError: there is no such model, or it has no such weights.
    """
    wanted = []
    for given in settings.names:
        short, weights = catalog.split(given)
        name = catalog.canonical(short)
        # Its file installs with pip: there is nothing to download, and nothing that can be missing later.
        url = None if name == EFFICIENTNET_LITE0 else catalog.find_weights(name, weights).url
        wanted.append((given, url))
    exit_code = 0
    for given, url in wanted:
        try:
            path = fetch(url, settings.weights_dir) if url else Path(efficientnet_lite0_file())
            print_plain(f"{given}: {path}")
        except NanofleetError as error:
            exit_code = 1
            print_plain(f"{given}: {error}", file=sys.stderr)
    return exit_code


def _all_facts(name: str) -> List[Dict[str, Any]]:
    """The facts of each of a model's weights, the default's first, with the preprocessing."""
    if name == EFFICIENTNET_LITE0:
        return [catalog.efficientnet_lite0_facts()]
    return [catalog.facts(weights) for weights in catalog.weights_of(name)]


def _kept_at(url: str, weights_dir: Path) -> Path:
    parts = urlparse(url)
    return Path(parts.path) if parts.scheme == "file" else weights_dir / Path(parts.path).name


def _shown(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)


def _print_json(found: List[Dict[str, Any]]) -> None:
    for facts in found:
        print(json.dumps(facts))
