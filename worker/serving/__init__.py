"""The model in service: loaded, its batches (inference), another one (switch, commands), both compared."""
