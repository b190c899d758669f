"""Keys for one purpose each, derived from the one secret of the settings."""

import hmac

from app.config import AuthSettings


def derive(settings: AuthSettings, purpose: str) -> bytes:
    """32 bytes that say nothing of the secret, nor of what another purpose gets."""
    return hmac.digest(settings.secret_key.get_secret_value().encode(), b"frontdesk/" + purpose.encode(), "sha256")
