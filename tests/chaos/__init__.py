"""`make chaos`: the service's real processes under faults, and a count of what became of the work it accepted."""
