"""Where a database is, for SQLAlchemy and for PostgreSQL's own programs."""

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

from app.config import DatabaseSettings


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """An address of the form that DATABASE_URL has."""

    url: str

    @classmethod
    def direct(cls, settings: DatabaseSettings) -> "DatabaseAddress":
        """Past a pooler, if there is one: a dump and its snapshot need sessions of their own."""
        return cls(settings.direct.get_secret_value())

    @property
    def name(self) -> str:
        """The database's name."""
        return unquote(urlsplit(self.url).path.removeprefix("/"))

    def other(self, name: str) -> "DatabaseAddress":
        """Another database of the same server."""
        return DatabaseAddress(urlsplit(self.url)._replace(path="/" + quote(name, safe="")).geturl())

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
            "PGSSLMODE": (query.get("ssl") or query.get("sslmode") or [""])[0],
        }
        return {name: value for name, value in given.items() if value}
