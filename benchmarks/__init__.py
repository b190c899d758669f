"""`make bench`: the service beside bare floors on the same libraries, in one run."""
