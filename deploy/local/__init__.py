"""Frontdesk on one machine, on the real engines, with nothing to install but Python."""
