"""The options that say where a study runs, the same for every command that starts workers."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

from typer import Option

SITE_OPTIONS: dict[str, Any] = {
    "executor": Annotated[
        str | None,
        Option(
            help="local: submitit jobs on this machine; slurm: on a cluster; inline: in this "
            "process  [default: local; on resume what it was]",
            metavar="NAME",
        ),
    ],
    "workers": Annotated[
        str | None,
        Option(
            "--workers",
            "--parallel",
            help="Trainings at a time  [default: one a core or GPU; 8 on a cluster]",
            metavar="N",
        ),
    ],
    "device": Annotated[
        str | None,
        Option(help="auto, cpu, cuda or cuda:i  [default: auto]", metavar="NAME"),
    ],
    "engine": Annotated[
        str | None,
        Option(
            help="How trials are trained: auto (on a GPU, measures and takes the fastest), eager, "
            "or, experimental and not yet measured on a GPU: captured, streams, stacked (for "
            "example stacked:16). Fixed once something is trained  [default: auto]",
            metavar="NAME",
        ),
    ],
    "detach": Annotated[
        bool, Option("--detach", help="Start the workers and return; see status, resume, cancel.")
    ],
    "profile": Annotated[
        str | None,
        Option(
            help="Named set of these options, from [profiles.NAME] in stability.toml.",
            metavar="NAME",
        ),
    ],
    "partition": Annotated[
        str | None, Option(help="Slurm: partition of the jobs.", metavar="NAME")
    ],
    "account": Annotated[str | None, Option(help="Slurm: account to charge.", metavar="NAME")],
    "qos": Annotated[str | None, Option(help="Slurm: quality of service.", metavar="NAME")],
    "time": Annotated[
        str | None,
        Option(
            "--time",
            help="Slurm: wall-time limit per worker, as MINUTES, H:MM:SS or D-HH. A worker that "
            "needs longer is requeued  [default: 4:00:00]",
            metavar="TIME",
        ),
    ],
    "memory": Annotated[
        str | None, Option(help="Slurm: memory per worker, such as 8G.", metavar="SIZE")
    ],
    "cpus": Annotated[str | None, Option(help="Slurm: CPUs per worker  [default: 1]", metavar="N")],
    "gpus": Annotated[
        str | None,
        Option(help="Slurm: GPUs per worker  [default: 1 with --device cuda]", metavar="N"),
    ],
    "constraint": Annotated[
        str | None, Option(help="Slurm: features that a node must have.", metavar="WHAT")
    ],
    "exclude": Annotated[str | None, Option(help="Slurm: nodes to leave out.", metavar="NODE,...")],
    "setup": Annotated[
        list[str] | None,
        Option(
            help="Slurm: shell line to run before a worker starts. Can be repeated.", metavar="LINE"
        ),
    ],
    "slurm": Annotated[
        list[str] | None,
        Option(
            "--slurm",
            help="Slurm: any other option of sbatch. Can be repeated.",
            metavar="KEY=VALUE",
        ),
    ],
}


def with_site_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `SITE_OPTIONS` to a command; it gets those that were given as the dict `site`."""

    @wraps(command)
    def collected(**given: Any) -> None:
        site = {name: given.pop(name) for name in SITE_OPTIONS}
        command(**given, site={name: value for name, value in site.items() if value})

    own = [p for p in signature(command).parameters.values() if p.name != "site"]
    options = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=False if name == "detach" else None,
            annotation=kind,
        )
        for name, kind in SITE_OPTIONS.items()
    ]
    collected.__signature__ = Signature([*own, *options])  # type: ignore[attr-defined]
    collected.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
    return collected
