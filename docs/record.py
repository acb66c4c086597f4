"""Record docs/demo.svg from a real run: python docs/record.py (in an environment with nanofleet[demo])."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text


def main() -> None:
    """Run the demo, and write what it printed as a picture of a terminal."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "100", "TERM": "xterm-256color"}
    demo = subprocess.run(
        [sys.executable, "-m", "fleet", "demo", "--workers", "2"],
        stdout=subprocess.PIPE,
        env=environment,
        check=True,
        text=True,
    )
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(Text("$ make demo WORKERS=2", style="bold"))
    console.print(Text.from_ansi(demo.stdout))
    picture = console.export_svg(title="nanofleet")
    # The picture must not fetch a font from elsewhere: any monospaced one will do.
    picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
    Path(__file__).with_name("demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
