"""Frontdesk: a production booking backend for clinics."""

__version__ = "0.1.0"
