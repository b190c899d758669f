"""Where a database is, for SQLAlchemy and for PostgreSQL's own programs."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from ssl import SSLContext, create_default_context
from urllib.parse import parse_qs, quote, unquote, urlsplit

from app.config import DatabaseSettings


@cache
def _verified(ca_file: Path | None, *, name: bool) -> SSLContext:
    """Made once a process: to read authorities takes tens of milliseconds, and who listens connects again and again."""
    context = create_default_context(cafile=ca_file)
    context.check_hostname = name
    return context


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """An address of the form that DATABASE_URL has."""

    url: str
    ca_file: Path | None = None
    """The authorities of the server's certificate, in PEM; None: the system's."""

    @classmethod
    def direct(cls, settings: DatabaseSettings) -> "DatabaseAddress":
        """Past a pooler, if there is one: a dump and its snapshot need sessions of their own."""
        return cls(settings.direct.get_secret_value(), settings.ca_file)

    @property
    def name(self) -> str:
        """The database's name."""
        return unquote(urlsplit(self.url).path.removeprefix("/"))

    def other(self, name: str) -> "DatabaseAddress":
        """Another database of the same server."""
        return replace(self, url=urlsplit(self.url)._replace(path="/" + quote(name, safe="")).geturl())

    @property
    def tls_mode(self) -> str:
        """What `?ssl=` says, in libpq's words; empty: nothing."""
        return parse_qs(urlsplit(self.url).query).get("ssl", [""])[-1]

    def tls(self) -> SSLContext | None:
        """How the server is to show who it is; None: it need not, and `tls_mode` alone says whether to encrypt.

        libpq and asyncpg look for authorities in the user's home directory, which a service does not have.
        """
        if self.tls_mode not in {"verify-ca", "verify-full"}:
            return None
        return _verified(self.ca_file, name=self.tls_mode == "verify-full")

    def environment(self) -> dict[str, str]:
        """What libpq reads: so no password stands in a list of processes."""
        parts = urlsplit(self.url)
        query = {name: values for name, values in parse_qs(parts.query).items() if values}
        hosts = query.get("host") or ([parts.hostname] if parts.hostname else [])
        given = {
            "PGHOST": ",".join(hosts),
            "PGPORT": str(parts.port or query.get("port", [""])[0]),
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
            "PGDATABASE": self.name,
            "PGSSLMODE": self.tls_mode,
            "PGSSLROOTCERT": str(self.ca_file or "system") if self.tls_mode.startswith("verify-") else "",
        }
        return {name: value for name, value in given.items() if value}
