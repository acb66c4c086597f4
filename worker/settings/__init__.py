"""Settings of `nanofleet worker` and `nanofleet classify`.

worker     all of a worker's: metrics, folders, adoption, stepping aside, leaving; and by inheritance
decoding   decoder processes and their limits
frames     batches, the window, ages and sizes
inputs     the group, the worker's id, the topics; and with these `wire.broker`'s
engine     the model and what runs it
classify   all of `nanofleet classify`, which has the engine's as well
"""

from worker.settings.classify import ClassifySettings
from worker.settings.engine import EngineSettings, default_weights_dir
from worker.settings.worker import WorkerSettings

__all__ = ["ClassifySettings", "EngineSettings", "WorkerSettings", "default_weights_dir"]
