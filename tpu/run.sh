#!/usr/bin/env bash
# What runs on each worker of a slice. Every command can be said twice: ssh drops, and gcloud says it again.
#
#   run.sh setup DIGEST [EXTRA...]   the code that was copied, uv, Python, the project with its extras
#   run.sh start JOB COMMAND...      once, detached, under a lock
#   run.sh poll OFFSET               a line "fdl-tpu JOB STATE CODE SIZE LENGTH", then LENGTH bytes of the log
#   run.sh stop                      SIGTERM, so that it can save; then SIGKILL for what is left
#
# bash reads a script while it runs it: all is in functions, so that a new copy of this file disturbs nothing.
set -euo pipefail

root=$HOME/fdl-tpu
mark=FDL_TPU_ROOT=$root # in the environment of every process that a job starts
longest=262144          # bytes of log in one poll
PATH=$HOME/.local/bin:$PATH
export UV_PROJECT_ENVIRONMENT=$root/venv

fail() {
    echo "error: $1"
    exit "${2:-1}"
}

# Whether a job runs: its wrapper holds the lock as long as it lives.
busy() {
    [ -e "$root/job.lock" ] && ! flock --shared --nonblock "$root/job.lock" true
}

# Every process that a job has left, whatever session it moved to.
left_over() {
    { grep --files-with-matches --null-data --line-regexp --fixed-strings -e "$mark" \
        /proc/[0-9]*/environ 2>/dev/null || true; } | tr -dc '0-9\n'
}

# A dead job's children would keep the chips and libtpu's lock file. Fails where they do not end.
clear_left_over() {
    local pid
    for _ in $(seq 50); do
        [ -n "$(left_over)" ] || break
        for pid in $(left_over); do kill -KILL "$pid" 2>/dev/null || true; done
        sleep 0.2
    done
    [ -z "$(left_over)" ] || return 1
    rm -f "${FDL_LIBTPU_LOCKFILE:-/tmp/libtpu_lockfile}"
    for pid in /proc/[0-9]*; do
        if find "$pid/fd" \( -lname '/dev/accel*' -o -lname '/dev/vfio/[0-9]*' \) 2>/dev/null | grep -q .; then
            echo "warning: process ${pid#/proc/} holds the TPU: end it, or the job cannot start"
        fi
    done
}

setup() {
    local digest=$1 want=$* extra extras=()
    shift
    for extra in "$@"; do extras+=(--extra "$extra"); done
    exec 8>"$root/setup.lock"
    flock 8
    # The mark is written last: what was broken off half-way is done again.
    if [ "$(cat "$root/ready" 2>/dev/null)" = "$want" ]; then return; fi
    if busy; then fail "a job with other code runs here; end it with the launcher's stop" 3; fi
    echo "$digest  $HOME/fdl-code.tar.gz" | sha256sum --check --status || fail "the code did not arrive whole"
    rm -rf "$root/ready" "$root/code"
    mkdir "$root/code"
    tar -xzf "$HOME/fdl-code.tar.gz" -C "$root/code"
    # No apt: unattended upgrades hold its lock. The image's Python is too old: uv brings its own.
    command -v uv >/dev/null || python3 -m pip install --quiet --user uv \
        || curl -LsSf https://astral.sh/uv/install.sh | sh
    cd "$root/code"
    uv sync --quiet --no-dev --python 3.12 "${extras[@]}"
    echo "$want" >"$root/ready.new"
    mv "$root/ready.new" "$root/ready"
}

start() {
    local job=$1 folder=$root/jobs/$1
    if busy && [ "$(cat "$root/current")" = "$job" ]; then return 0; fi
    exec 9>"$root/job.lock"
    if ! flock --exclusive --wait 1 9; then # a poll holds it for a moment
        [ "$(cat "$root/current")" = "$job" ] || fail "another command runs here; end it with the launcher's stop" 3
        return 0
    fi
    [ ! -e "$folder" ] || return 0 # it ran and ended before ssh could say so
    [ -e "$root/ready" ] || fail "this worker is not set up; give the launcher's setup first"
    mkdir -p "$folder"
    : >"$folder/log"
    echo "$job" >"$root/current"
    clear_left_over >>"$folder/log" || fail "processes of an earlier job do not end"
    setsid bash "$0" work "$@" </dev/null >>"$folder/log" 2>&1 &
    for _ in $(seq 100); do
        [ ! -e "$folder/pid" ] || return 0
        sleep 0.1
    done
    fail "the command did not start"
}

work() {
    local job=$root/jobs/$1 child code=0
    shift
    cd "$root/code"
    # Google's default firewall blocks the port that newer versions of JAX take by themselves.
    env "$mark" PYTHONUNBUFFERED=1 JAX_COORDINATOR_PORT="${JAX_COORDINATOR_PORT:-8476}" "$@" 9>&- &
    child=$!
    echo "$child" >"$job/pid"
    wait "$child" || code=$?
    echo "$code" >"$job/exit.new"
    mv "$job/exit.new" "$job/exit"
}

poll() {
    local offset=$1 job=- state=absent code=- size=0 length=0 folder=
    if [ -e "$root/current" ]; then
        job=$(cat "$root/current")
        folder=$root/jobs/$job
        # In this order: the exit code is written before the lock is free, the log before both.
        if busy; then state=running; elif [ -e "$folder/exit" ]; then
            state=ended
            code=$(cat "$folder/exit")
        else state=lost; fi
        size=$(stat --format=%s "$folder/log")
        length=$((size > offset ? size - offset : 0))
        length=$((length < longest ? length : longest))
    fi
    echo "fdl-tpu $job $state $code $size $length"
    if [ "$length" -gt 0 ]; then
        tail --bytes=+$((offset + 1)) "$folder/log" 2>/dev/null | head --bytes="$length" || true
    fi
}

stop() {
    local pid
    [ -e "$root/current" ] || return 0
    pid=$(cat "$root/jobs/$(cat "$root/current")/pid" 2>/dev/null || true)
    if [ -n "$pid" ] && left_over | grep --quiet --line-regexp "$pid"; then kill -TERM "$pid" || true; fi
    for _ in $(seq 60); do
        busy || break
        sleep 0.5
    done
    clear_left_over || fail "processes of the job do not end"
}

main() {
    mkdir -p "$root"
    # By its last line the launcher knows whether a command failed or ssh did, and that an answer is whole.
    [ "$1" = work ] || trap 'echo "fdl-tpu exit $?"' EXIT
    case $1 in
        setup) setup "${@:2}" ;;
        start) start "${@:2}" ;;
        work) work "${@:2}" ;;
        poll) poll "${@:2}" ;;
        stop) stop ;;
        *) fail "there is no command $1" 2 ;;
    esac
}

main "$@"
exit
