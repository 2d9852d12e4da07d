#!/usr/bin/env bash
# Start a Slurm of two nodes on this one host, for the tests of this folder.
#
#   tests/slurm/up.sh              install what is missing, configure, start, wait for idle nodes
#
# Debian or Ubuntu, as root. Everything lies in $SLURM_SANDBOX (default: /tmp/stability-slurm) and
# listens on the loopback interface only; nothing of /etc/slurm is read or written. Idempotent: a
# second call starts what does not run. ACCOUNTING=0 leaves out slurmdbd, so that sacct says nothing;
# MAX_ARRAY is Slurm's MaxArraySize.
# Ends with status 77 where it cannot be done here.
set -euo pipefail

export SLURM_SANDBOX=${SLURM_SANDBOX:-/tmp/stability-slurm}
S=$SLURM_SANDBOX
PORT=${SLURM_BASE_PORT:-27800}
CPUS=4 MEMORY=4096 GPUS=2
PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH

cannot() { echo "no Slurm here: $*" >&2; exit 77; }
fail() { echo "up.sh: $*; logs: $S/log" >&2; exit 1; }

[ "$(id -u)" = 0 ] || cannot "slurmd needs root"
command -v apt-get >/dev/null || cannot "the packages are those of Debian and Ubuntu"
[ ${#S} -le 60 ] || cannot "$S is too long for unix sockets"
# Slurm listens to what its host name stands for: in a name space of its own that is localhost.
unshare --uts true 2>/dev/null || cannot "no UTS name space may be made"

mkdir -p "$S"/{etc,log,run,state,spool/n1,spool/n2,database}
if [ -e "$S/etc/accounting" ]; then ACCOUNTING=$(cat "$S/etc/accounting"); fi
echo "${ACCOUNTING:=1}" >"$S/etc/accounting"

packages=(munge slurmctld slurmd slurm-client)
[ "$ACCOUNTING" = 0 ] || packages+=(slurmdbd mariadb-server-core mariadb-client-core)
if ! dpkg -s "${packages[@]}" >/dev/null 2>&1; then
    # Without this the packages would start daemons of their own.
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; ours=$policy; }
    { apt-get -q update || true
      DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "${packages[@]}"
    } >"$S/log/apt.log" 2>&1 </dev/null || { rm -f "${ours:-}"; cannot "apt-get install failed, see $S/log/apt.log"; }
    [ -z "${ours:-}" ] || rm -f "$ours"
fi

# running NAME COMMAND: whether run/NAME.pid names a process of this sandbox.
running() {
    local pid
    pid=$(tr -cd 0-9 2>/dev/null <"$S/run/$1.pid") && [ -n "$pid" ] || return 1
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "SLURM_SANDBOX=$S"
}

# patiently SECONDS COMMAND...
patiently() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

# start NAME COMMAND...: a daemon that writes run/NAME.pid itself.
start() {
    local name=$1 program=${2##*/}
    [ "$program" != env ] || program=$4
    shift
    running "$name" "$program" && return 0
    rm -f "$S/run/$name.pid"
    unshare --uts sh -c 'hostname localhost && exec "$@"' sh "$@" </dev/null >>"$S/log/$name.out" 2>&1 \
        || fail "$name does not start"
    patiently 20 running "$name" "$program" || fail "$name does not stay up"
}

# --- configuration: written once, so that a restart finds the same cluster -------------------------

configure() {
    local accounting="AccountingStorageType=accounting_storage/none" version i
    if [ "$ACCOUNTING" != 0 ]; then
        accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$((PORT + 2))
# Not a password: the munge socket to use towards slurmdbd.
AccountingStoragePass=$S/run/munge.socket"
        (umask 077; cat >"$S/etc/slurmdbd.conf" <<EOF
AuthType=auth/munge
AuthInfo=socket=$S/run/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((PORT + 2))
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile=$S/run/slurmdbd.pid
LogFile=$S/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
EOF
        )
    fi
    # One device file a pretended GPU: only then is CUDA_VISIBLE_DEVICES set.
    for ((i = 0; i < GPUS; i++)); do
        if [ -c "$S/gpu$i" ] || mknod -m 666 "$S/gpu$i" c 1 3 2>/dev/null; then
            echo "Name=gpu File=$S/gpu$i"
        else
            echo "Name=gpu File=$([ "$i" = 0 ] && echo /dev/null || echo /dev/zero)"
        fi
    done >"$S/etc/gres.conf"
    printf 'ConstrainCores=no\nConstrainRAMSpace=no\n' >"$S/etc/cgroup.conf"
    version=$(slurmctld -V | tr -cd '0-9.\n' | head -n1)
    # The spelling changed, and each version stops at the other's.
    local preempt="PreemptParameters=send_user_signal"
    [ "${version%%.*}" -gt 22 ] || preempt="SlurmctldParameters=preempt_send_user_signal"
    cat >"$S/etc/slurm.conf" <<EOF
ClusterName=stability
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$PORT
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire is how long a requeued job waits; 120 s where nobody changes it.
AuthInfo=socket=$S/run/munge.socket,cred_expire=10
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$S/state
SlurmdSpoolDir=$S/spool/%n
SlurmctldPidFile=$S/run/slurmctld.pid
SlurmdPidFile=$S/run/%n.pid
SlurmctldLogFile=$S/log/slurmctld.log
SlurmdLogFile=$S/log/%n.log
# No cgroups, no raised limits: a container has neither. Memory is therefore not limited.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
PropagateResourceLimits=NONE
MailProg=/bin/true
MpiDefault=none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=128
SchedulerParameters=sched_interval=5,bf_interval=5,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
$preempt
KillWait=5
SlurmdTimeout=20
MinJobAge=600
MaxArraySize=${MAX_ARRAY:-1001}
ReturnToService=2
# Never an id of an earlier sandbox.
FirstJobId=$(($(date +%s) % 60000000 + 1))
$accounting
GresTypes=gpu
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 11)) CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:$GPUS
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((PORT + 12)) CPUs=$CPUS RealMemory=$MEMORY Gres=gpu:$GPUS
# LLN spreads jobs over the nodes.
PartitionName=main Nodes=ALL Default=YES LLN=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF
EOF
    (umask 077; head -c 1024 /dev/urandom >"$S/etc/munge.key")
    printf "export SLURM_SANDBOX='%s' SLURM_CONF='%s/etc/slurm.conf' SLURM_BASE_PORT=%s\n" "$S" "$S" "$PORT" >"$S/env.sh"
}

[ -e "$S/env.sh" ] || configure
export SLURM_CONF=$S/etc/slurm.conf

# --- daemons ---------------------------------------------------------------------------------------

start munged munged --key-file="$S/etc/munge.key" --socket="$S/run/munge.socket" \
    --pid-file="$S/run/munged.pid" --log-file="$S/log/munged.log" --seed-file="$S/run/munged.seed"
if [ "$ACCOUNTING" != 0 ]; then
    if ! running mariadbd mariadbd; then
        [ -d "$S/database/mysql" ] || mariadb-install-db --no-defaults --user=root --skip-test-db \
            --datadir="$S/database" --auth-root-authentication-method=socket \
            --auth-root-socket-user=root >"$S/log/mariadb-install.log" 2>&1 || fail "no database"
        # No network at all; root gets in by its user id.
        setsid mariadbd --no-defaults --user=root --datadir="$S/database" --skip-networking \
            --socket="$S/run/mariadb.sock" --pid-file="$S/run/mariadbd.pid" \
            --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 \
            </dev/null >>"$S/log/mariadbd.out" 2>&1 &
        patiently 30 mariadb --no-defaults --socket="$S/run/mariadb.sock" -e 'select 1' \
            || fail "mariadbd does not answer"
    fi
    start slurmdbd env MYSQL_UNIX_PORT="$S/run/mariadb.sock" slurmdbd
    patiently 30 sacctmgr -n show cluster || fail "slurmdbd does not answer"
    [ -n "$(sacctmgr -nP show cluster stability format=cluster)" ] \
        || sacctmgr -i add cluster stability >>"$S/log/sacctmgr.log" 2>&1
fi
start slurmctld slurmctld -f "$SLURM_CONF"
for node in n1 n2; do
    start $node slurmd -f "$SLURM_CONF" -N $node
done

idle() { [ "$(sinfo -h -p main -t idle,mixed,allocated -o %D)" = 2 ]; }
patiently 60 idle || { sinfo -N -l >&2; fail "the nodes do not come up"; }
echo "source $S/env.sh"
