"""The test bench: real systemd hosts and the stack's images, on one Docker engine.

Run it from the repository root: ``python3 -m tests.bench --help``.
"""
