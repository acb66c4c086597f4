"""Each module is a driver, `python -m bench.drivers.NAME …`: see `bench.drive`."""
