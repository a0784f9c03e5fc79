"""lumina-proxy: a sidecar hardening proxy for a service nobody may change."""

__version__ = "0.1.0"
