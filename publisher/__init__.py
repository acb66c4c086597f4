"""Feeds images in. Never imports torch, numpy or the worker."""
