"""Which versions of the user's code count in a run.

`code.toml` in a run directory lists them. Results of other versions stay in the parts and are not
counted. Without that file every result counts.
"""

from dataclasses import dataclass

from sweeps.errors import StoreError
from sweeps.store.run_directory import RunDirectory
from sweeps.study.trial import TRAINED
from sweeps.system.files import atomic_write, parse_toml, read_text

CODE_HEADER = (
    "# Versions of your own code whose results count in this run. unknown: results count whose\n"
    "# version was not recorded. Written by stability sweep and stability resume.\n"
)


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Versions whose results count."""

    codes: frozenset[str] | None = None
    """Versions; None where all count."""
    unknown: bool = True
    """Whether results count whose version was not recorded (earlier versions of stability)."""

    def counts(self, outcome: str | None, code: str | None) -> bool:
        """Whether a row counts; failures of an unknown version always do."""
        if self.codes is None or code == "":
            return True
        if code is None:
            return self.unknown or outcome not in TRAINED
        return code in self.codes

    def has(self, code: str | None) -> bool:
        """Whether results of this version were accepted explicitly."""
        return self.codes is not None and code in self.codes


ACCEPT_ALL = Accepted()


@dataclass(frozen=True, kw_only=True)
class CodeDecision:
    """A decision about which results count, before it is written."""

    accepted: Accepted
    replaces_results: bool
    """Whether results that counted no longer count."""


def read_accepted(run: RunDirectory) -> Accepted:
    """Read which versions are accepted in a run directory.

    Raises StoreError if that cannot be read: counting everything would be a guess.
    """
    try:
        content = parse_toml(read_text(run.code))
        codes, unknown = content["accepted"], content["unknown"]
        if not isinstance(codes, list) or not isinstance(unknown, bool):
            raise TypeError("accepted is no list, or unknown is neither true nor false")
        return Accepted(codes=frozenset(map(str, codes)), unknown=unknown)
    except FileNotFoundError:
        return ACCEPT_ALL
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{run.code} cannot be read: {error}. It lists the versions of your code whose "
            "results count. If all results should count, remove it and repeat the command"
        ) from error


def write_accepted(run: RunDirectory, decision: CodeDecision) -> None:
    """Write which versions are accepted. For the holder of the driver's lock.

    Confirmations of results that no longer count are renamed first, so that a command that is
    killed in between asks again.
    """
    import tomli_w

    now = decision.accepted
    if decision.replaces_results:
        for folder in sorted(run.path.glob("confirm-r*")):
            taken = len(list(run.path.glob(f"replaced-*-{folder.name}")))
            folder.rename(folder.with_name(f"replaced-{taken + 1}-{folder.name}"))
    content = {"accepted": sorted(now.codes or ()), "unknown": now.unknown}
    with atomic_write(run.code) as temporary:
        temporary.write_text(CODE_HEADER + tomli_w.dumps(content), encoding="utf-8")
