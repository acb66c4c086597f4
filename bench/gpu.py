"""What a CUDA device does meanwhile, as nvidia-smi reports; nothing where there is none, as on a Jetson."""

from __future__ import annotations

import shutil
import statistics
import subprocess
from typing import Dict, List, Optional

_QUERY = ["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--loop-ms=200"]


class GpuUse:
    """Utilisation and memory of the first device while the block lasts."""

    def __enter__(self) -> GpuUse:
        self._output = ""
        program = shutil.which("nvidia-smi")
        self._process: Optional[subprocess.Popen[str]] = None
        if program:
            command = [program, "--id=0", *_QUERY]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process:
            self._process.terminate()
            self._output = self._process.communicate()[0]

    def means(self) -> Dict[str, float]:
        """Mean utilisation (0 to 1) and the most memory (bytes); empty without a device."""
        samples = parse(self._output)
        if not samples:
            return {}
        return {
            "gpu_utilisation": statistics.mean(sample[0] for sample in samples) / 100,
            "gpu_bytes": max(sample[1] for sample in samples) * 1024 * 1024,
        }


def parse(output: str) -> List[List[float]]:
    """Per cent and MiB of each line; lines that say [N/A], or were cut off, are left out."""
    lines = [line.split(",") for line in output.splitlines()]
    return [
        [float(word) for word in words]
        for words in lines
        if len(words) == 2 and all(word.strip().isdigit() for word in words)
    ]
