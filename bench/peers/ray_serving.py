"""A Ray of its own for one deployment, which says `ready`, and ends with SIGTERM."""

from __future__ import annotations

import os
import signal
from typing import Any

import ray
from ray import serve


def serve_until_ended(port: int, deployment: Any) -> None:
    """Serve at a port of this machine."""
    ray.init(include_dashboard=False, log_to_driver=False, num_cpus=max(4, os.cpu_count() or 1))
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(deployment, route_prefix="/")
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
