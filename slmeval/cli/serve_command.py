"""``slmeval serve``: the service."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click

from slmeval.cli import flags
from slmeval.cli.output import complain
from slmeval.errors import MissingExtra, UsageError

_NEEDS = ("fastapi", "uvicorn", "jinja2", "websockets", "prometheus_client", "multipart")


@click.command("serve")
@flags.with_options(
    click.option(
        "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where it listens."
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8765,
        show_default=True,
        metavar="PORT",
        help="0 takes a free one.",
    ),
    click.option(
        "--models", "folders", multiple=True, metavar="DIR", help="A folder whose models may be measured."
    ),
    click.option(
        "--hub", "hubs", multiple=True, metavar="PATTERN", help="Hub ids that may be: 'HuggingFaceTB/*', say."
    ),
    click.option(
        "--model-server",
        "servers",
        multiple=True,
        metavar="URL",
        help="Model servers that may be asked.",
    ),
    flags.DATA,
    click.option(
        "--allow-host", "hosts", multiple=True, metavar="NAME", help="A further name that it is reached by."
    ),
    click.option("--no-worker", is_flag=True, help="This machine runs nothing itself."),
    click.option(
        "--max-items", type=click.IntRange(min=1), metavar="N", help="Most rows of a task that may be asked."
    ),
    click.option(
        "--max-hours",
        type=click.FloatRange(min=0, min_open=True),
        default=24.0,
        show_default=True,
        metavar="H",
        help="Longest that one run may take.",
    ),
    click.option(
        "--max-queued",
        type=click.IntRange(min=1),
        default=10_000,
        show_default=True,
        metavar="N",
        help="Most runs that may wait.",
    ),
    flags.STORE,
)
def command(
    host: str,
    port: int,
    folders: tuple[str, ...],
    hubs: tuple[str, ...],
    servers: tuple[str, ...],
    data: str | None,
    hosts: tuple[str, ...],
    no_worker: bool,
    max_items: int | None,
    max_hours: float,
    max_queued: int,
    store: str | None,
) -> None:
    """Serve pages and an API over the store: submit runs, watch them, compare them, on every device.

    Only this machine reaches it, unless --host says otherwise, which takes a token (slmeval token add).
    """
    if absent := [name for name in _NEEDS if find_spec(name) is None]:
        raise MissingExtra(f"{absent[0]}, which the service needs,", "serve")
    from slmeval.service.allowed import check_patterns
    from slmeval.service.names import check_names
    from slmeval.service.server import serve
    from slmeval.service.settings import Limits, Settings
    from slmeval.store import default_path

    limits = Limits(items=max_items, seconds=max_hours * 3600, queued=max_queued)
    settings = Settings(
        (Path(store) if store else default_path()).absolute(),
        host,
        port,
        tuple(map(_folder, folders)),
        hubs,
        servers,
        str(_there(data)) if data else None,
        hosts,
        not no_worker,
        limits,
    )
    check_patterns(settings)
    check_names(settings)
    serve(settings, lambda address: complain(f"slmeval is at {address} (Ctrl-C ends it)"))


def _folder(named: str) -> Path:
    path = Path(named).expanduser().resolve()
    if not path.is_dir():
        raise UsageError(f"--models {named}: there is no such folder")
    return path


def _there(named: str) -> Path:
    path = Path(named).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"--data {named}: there is no such folder or archive")
    return path
