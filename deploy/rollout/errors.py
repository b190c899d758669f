"""What ends a deployment."""


class RolloutError(Exception):
    """The text says what went wrong; what was begun is taken back."""


class Busy(RolloutError):
    """Another deployment is under way."""


class Interrupted(RolloutError):
    """A signal asked to stop."""
