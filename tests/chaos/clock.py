"""A clock that can be set, for the processes of one scene alone: libfaketime."""

from pathlib import Path

PLACES = ("/usr/lib/*/faketime", "/usr/lib64/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")


def library() -> Path | None:
    """Of libfaketime; None where it is not installed (Debian's package `libfaketime`)."""
    root = Path("/")
    found = [path for place in PLACES for path in root.glob(f"{place[1:]}/libfaketimeMT.so.1")]
    return found[0] if found else None


def faked_clock(setting: Path) -> dict[str, str]:
    """Environment in which the clock is what the file `setting` says, at every look.

    The monotonic clock is left alone, as it is when a person or NTP sets the clock.
    """
    found = library()
    if found is None:
        return {}
    if not setting.exists():
        setting.write_text("+0\n")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
