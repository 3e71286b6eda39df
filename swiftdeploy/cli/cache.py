"""`swiftdeploy cache`: what is kept of earlier runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swiftdeploy import console
from swiftdeploy.cli import output
from swiftdeploy.cli.options import Json, NoColor, Quiet, Verbose
from swiftdeploy.cli.table import table_of
from swiftdeploy.config import FILE_NAME, CacheSettings, Config, bytes_of, read_config
from swiftdeploy.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from swiftdeploy.matrix.cache import Cache, Listed

cache = typer.Typer(
    name="cache",
    help="List, prune and verify the cache of earlier runs.\n\nExample: swiftdeploy cache list",
    no_args_is_help=True,
)
Folder = Annotated[Path | None, typer.Option("--cache", help="Folder of the cache.", show_default=False)]


def cache_of(folder: Path | None, config: Config | None) -> Cache:
    """The cache that the command line, the configuration or the platform names, in that order."""
    from swiftdeploy.matrix.cache import Cache, default_folder

    settings = config.cache if config is not None else CacheSettings()
    named = config.path(settings.folder) if config is not None else None
    place = folder or (Path(named) if named is not None else default_folder())
    return Cache(folder=place.absolute(), max_bytes=bytes_of(settings.max_size))


@cache.command("list")
def list_(
    folder: Folder = None, json: Json = False, quiet: Quiet = False, verbose: Verbose = False, no_color: NoColor = False
) -> None:
    """List the entries, the longest unused first.

    Example: swiftdeploy cache list
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.matrix.cache import listed

    found = _cache(folder)
    _show(listed(found), found, json=json)


@cache.command("verify")
def verify(
    folder: Folder = None, json: Json = False, quiet: Quiet = False, verbose: Verbose = False, no_color: NoColor = False
) -> None:
    """Hash every byte of every entry. A damaged one fails, and the next run makes it anew.

    Example: swiftdeploy cache verify
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.matrix.cache import listed

    found = _cache(folder)
    with console.step(f"hashing {found.folder}"):
        entries = listed(found, verify=True)
    damaged = [entry for entry in entries if entry.problem]
    if not (json and damaged):
        _show(entries, found, json=json)
    if damaged:
        raise ArtifactError(
            f"{len(damaged)} of {len(entries)} entries are damaged, first {damaged[0].key[:16]}: {damaged[0].problem}",
            hint="remove them: swiftdeploy cache prune",
        )


@cache.command("prune")
def prune(
    folder: Folder = None,
    size: Annotated[
        str | None,
        typer.Option("--size", metavar="SIZE", help='Keep so much, such as "2GB"; default: [cache] max_size.'),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    no_color: NoColor = False,
) -> None:
    """Remove damaged entries, what older versions and killed runs left, and the longest unused over the limit.

    Example: swiftdeploy cache prune --size 2GB
    """
    output.configure(quiet=quiet, verbose=verbose, no_color=no_color)
    from swiftdeploy.matrix import cache as store

    found = _cache(folder)
    try:
        most = bytes_of(size) if size is not None else None
    except ValueError as error:
        raise UsageError(f"--size {error}", hint='for example --size "2 GB"') from error
    with console.step(f"hashing {found.folder}"):
        removed = store.prune(found, max_bytes=most, verify=True, dry=dry_run)
    _show(removed, found, json=json)


def _cache(folder: Path | None) -> Cache:
    path = Path(FILE_NAME)
    return cache_of(folder, read_config(path) if path.is_file() else None)


def _show(entries: tuple[Listed, ...], found: Cache, *, json: bool) -> None:
    if json:
        output.document({"cache": str(found.folder), "entries": entries})
        return
    screen = console.stdout()
    table = table_of("entry", "model", "MB", "problem", width=screen.width)
    for entry in entries:
        problem = console.plain(entry.problem) or "-"
        table.add_row(
            console.plain(entry.key[:16]), console.plain(entry.name) or "-", f"{entry.bytes / 1e6:.2f}", problem
        )
    screen.print(table)
    console.note(f"{sum(entry.bytes for entry in entries) / 1e6:.2f} MB in {found.folder}")
