"""Replaces one generation of processes by the next behind Traefik, on one host. Standard library alone, Python 3.11."""
