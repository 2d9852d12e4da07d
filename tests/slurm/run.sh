#!/usr/bin/env bash
# Run a command beside a Slurm of its own, and stop that afterwards.
#
#   tests/slurm/run.sh .venv/bin/python -m pytest tests/slurm
#
# Where no Slurm can be had (see up.sh) it says why and ends with status 0.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export SLURM_SANDBOX=${SLURM_SANDBOX:-/tmp/stability-slurm-$$}
trap '"$here/down.sh" --purge' EXIT
status=0
"$here/up.sh" >/dev/null || status=$?
if [ $status = 77 ]; then
    echo "the tests on a real Slurm were NOT run" >&2
    exit 0
fi
[ $status = 0 ] || exit $status
# shellcheck disable=SC1091
. "$SLURM_SANDBOX/env.sh"
export STABILITY_SLURM=1
"$@"
