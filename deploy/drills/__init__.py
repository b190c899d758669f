"""Drills: what the runbooks promise, tried on the running service and measured (docs/drills.md)."""
