#!/usr/bin/env bash
# Stop the Slurm that up.sh started in $SLURM_SANDBOX, and nothing else; --purge deletes its folder.
#
# A process is stopped only if it is the program that it should be and carries the sandbox in its
# environment: a pid file may be old.
set -euo pipefail

S=${SLURM_SANDBOX:-/tmp/stability-slurm}
[ -e "$S/env.sh" ] || exit 0
export SLURM_CONF=$S/etc/slurm.conf

ours() {  # PID PROGRAM
    [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$1/environ" | grep -qxF -e "SLURM_SANDBOX=$S" -e "SLURM_CONF=$SLURM_CONF"
}

stop() {  # PID PROGRAM
    local end=$((SECONDS + 15))
    ours "$1" "$2" || return 0
    kill "$1" 2>/dev/null || true
    while ours "$1" "$2"; do
        [ $SECONDS -lt $end ] || kill -9 "$1" 2>/dev/null || true
        [ $SECONDS -lt $((end + 5)) ] || return 0
        sleep 0.1
    done
}

pid() { tr -cd 0-9 2>/dev/null <"$S/run/$1.pid" || true; }

if ours "$(pid slurmctld)" slurmctld; then
    timeout 20 scancel -u "$(id -un)" 2>/dev/null || true
    end=$((SECONDS + 12))
    while [ $SECONDS -lt $end ] && [ -n "$(timeout 5 squeue -h 2>/dev/null)" ]; do sleep 0.5; done
fi
stop "$(pid slurmctld)" slurmctld
for node in n1 n2; do stop "$(pid $node)" slurmd; done
for process in /proc/[0-9]*; do  # steps outlive their slurmd and have no pid file
    ! ours "${process#/proc/}" slurmstepd || stop "${process#/proc/}" slurmstepd
done
stop "$(pid slurmdbd)" slurmdbd
stop "$(pid mariadbd)" mariadbd
stop "$(pid munged)" munged
[ "${1:-}" != --purge ] || rm -rf -- "$S"
