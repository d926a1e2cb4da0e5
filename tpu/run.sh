#!/usr/bin/env bash
# What runs on each worker of a slice. Every command can be said twice: ssh drops, and gcloud says it again.
#
#   run.sh setup DIGEST [EXTRA...]   the code that was copied, uv, Python, the project with its extras
#   run.sh start [--delete] [--env] JOB COMMAND...
#                                    once, detached, under a lock; --delete: the slice goes once that has ended;
#                                    --env: with the variables that were copied
#   run.sh poll OFFSET               a line "fdl-tpu JOB STATE CODE SIZE LENGTH", then LENGTH bytes of the log
#   run.sh keep                      the slice is not deleted after the command
#   run.sh stop                      SIGTERM, so that it can save; then SIGKILL for what is left
#   run.sh                           as the VM's startup script: deletes the slice when its lifetime is over
#
# bash reads a script while it runs it: all is in functions, so that a new copy of this file disturbs nothing.
set -euo pipefail

export HOME=${HOME:-/root} # a startup script has none
script=$(realpath "$0")
root=$HOME/fdl-tpu
mark=FDL_TPU_ROOT=$root # in the environment of every process that a job starts
longest=262144          # bytes of log in one poll
grace=${FDL_GRACE:-1200} # seconds that the other workers have to end too: the launcher, if it lives, acts at 900
pause=${FDL_PAUSE:-15}  # seconds between two looks at the clock
metadata=${FDL_METADATA:-http://metadata.google.internal/computeMetadata/v1}
api=${FDL_TPU_API:-https://tpu.googleapis.com/v2}
compute=${FDL_COMPUTE_API:-https://compute.googleapis.com/compute/v1}
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

# What Google's metadata server knows of this VM.
metadata() {
    curl --silent --fail --globoff --noproxy '*' --max-time 10 --header 'Metadata-Flavor: Google' "$metadata/$1"
}

# GET or DELETE for the request by which this slice was made; prints the HTTP code: 000 where nobody answers,
# none where this launcher did not make the slice.
own_request() {
    local verb=$1 name zone project token own
    if ! name=$(metadata instance/attributes/fdl-name) || ! zone=$(metadata instance/attributes/fdl-zone); then
        echo none
        return
    fi
    project=$(metadata instance/attributes/fdl-project \
        || metadata instance/attributes/tpu-env | sed -n "s/^CONSUMER_PROJECT_ID: *'\(.*\)'.*/\1/p")
    project=${project:-$(metadata project/project-id || true)}
    own="$api/projects/$project/locations/$zone/queuedResources/$name"
    if [ "$(metadata instance/attributes/fdl-api || true)" = compute ]; then
        own=$compute/projects/$project/zones/$zone/instanceGroupManagers/$name
    elif [ "$verb" = DELETE ]; then own+='?force=true'; fi
    token=$(metadata instance/service-accounts/default/token \
        | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p') || true
    # Through a pipe, as every user of the VM can read command lines.
    printf 'header = "Authorization: Bearer %s"\n' "$token" \
        | curl --config - --silent --globoff --max-time 60 --request "$verb" --output /dev/null --write-out '%{http_code}' \
            "$own" || true
}

# Deletes this slice, on whichever worker comes first; the others find it gone. Ends with the VM.
delete_slice() {
    local code
    echo "fdl-tpu: $1: deleting the slice"
    while code=$(own_request DELETE) && [[ $code != 2?? && $code != 404 ]]; do
        echo "fdl-tpu: the slice cannot be deleted from here (HTTP $code)"
        [ "$code" != none ] || return 0
        sleep $((4 * pause))
    done
}

# By its lifetime, and with no launcher needed for that: Google Cloud starts this with the VM, as root.
begin_lifetime() {
    cp "$script" "$root/run.sh"
    # Not as this script's child: the boot would not be over before it.
    if ! systemd-run --quiet --unit=fdl-lifetime bash "$root/run.sh" lifetime 2>/dev/null; then
        setsid bash "$root/run.sh" lifetime </dev/null >>"$root/lifetime.log" 2>&1 &
    fi
}

# Whether one of these processes is there.
some_live() {
    local pid
    for pid in "$@"; do
        if kill -0 "$pid" 2>/dev/null; then return 0; fi
    done
    return 1
}

lifetime() {
    local seconds='' pid pids=()
    for _ in $(seq 30); do
        seconds=$(metadata instance/attributes/fdl-lifetime) && break
        sleep 2
    done
    [[ $seconds =~ ^[0-9]+$ ]] || fail "this slice was given no lifetime"
    # Once: a VM that starts again does not live longer.
    [ -s "$root/deadline" ] || echo $(($(date +%s) + seconds)) >"$root/deadline"
    while [ "$(date +%s)" -lt "$(cat "$root/deadline")" ]; do sleep "$pause"; done
    while read -r pid; do
        if grep --quiet --null-data '^FDL_TPU_ROOT=' "/proc/$pid/environ" 2>/dev/null; then pids+=("$pid"); fi
    done < <(cat "$root"/jobs/*/pid /home/*/fdl-tpu/jobs/*/pid 2>/dev/null)
    for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done # it saves first
    for _ in $(seq 60); do
        some_live "${pids[@]}" || break
        sleep 1
    done
    delete_slice "its lifetime is over"
}

# After a command that is over for good, unless the launcher starts another or deletes the slice before.
depart() {
    local job=$1 left=$grace
    while [ "$left" -gt 0 ]; do
        [ "$(cat "$root/current")" = "$job" ] || return 0
        sleep $((left < pause ? left : pause))
        left=$((left - pause))
    done
    if [ "$(cat "$root/current" "$root/jobs/$job/after")" = "$job"$'\ndelete' ]; then
        delete_slice "the command has ended"
    fi
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
    local after=keep variables='' job folder code
    while [[ $1 = --* ]]; do
        case $1 in
            --delete) after=delete ;;
            --env) variables=yes ;;
            *) fail "start has no flag $1" 2 ;;
        esac
        shift
    done
    job=$1
    folder=$root/jobs/$1
    if busy && [ "$(cat "$root/current")" = "$job" ]; then
        echo "$after" >"$folder/after" # whoever joins it says anew
        return 0
    fi
    exec 9>"$root/job.lock"
    if ! flock --exclusive --wait 1 9; then # a poll holds it for a moment
        [ "$(cat "$root/current")" = "$job" ] || fail "another command runs here; end it with the launcher's stop" 3
        return 0
    fi
    [ ! -e "$folder" ] || return 0 # it ran and ended before ssh could say so
    [ -e "$root/ready" ] || fail "this worker is not set up; give the launcher's setup first"
    if [ -n "$variables" ] && [ ! -e "$HOME/fdl-env" ]; then fail "the environment did not arrive"; fi
    mkdir -p "$folder"
    if [ -n "$variables" ]; then
        chmod 600 "$HOME/fdl-env"
        mv "$HOME/fdl-env" "$folder/env"
    fi
    : >"$folder/log"
    echo "$after" >"$folder/after"
    echo "$job" >"$root/current"
    clear_left_over >>"$folder/log" || fail "processes of an earlier job do not end"
    if [ $after = delete ] && code=$(own_request GET) && [ "$code" != 200 ]; then
        echo "warning: this worker cannot delete its slice (HTTP $code): its service account needs the role" \
            "roles/tpu.admin (--api compute: roles/compute.instanceAdmin.v1), and the launcher must have made it" >>"$folder/log"
    fi
    setsid bash "$script" work "$@" </dev/null >>"$folder/log" 2>&1 &
    for _ in $(seq 100); do
        [ ! -e "$folder/pid" ] || return 0
        sleep 0.1
    done
    fail "the command did not start"
}

work() {
    local job=$root/jobs/$1 child code=0 pair
    shift
    cd "$root/code"
    (
        if [ -e "$job/env" ]; then # on no command line, which every user can read; nor any longer on the disk
            while IFS= read -r -d '' pair; do export "${pair?}"; done <"$job/env"
            rm -f "$job/env"
        fi
        # Google's default firewall blocks the port that newer versions of JAX take by themselves.
        export "${mark?}" PYTHONUNBUFFERED=1 JAX_COORDINATOR_PORT="${JAX_COORDINATOR_PORT:-8476}"
        exec "$@"
    ) 9>&- &
    child=$!
    echo "$child" >"$job/pid"
    wait "$child" || code=$?
    echo "$code" >"$job/exit.new"
    mv "$job/exit.new" "$job/exit"
    # Done, bad input, a loss that is not finite: another attempt would end the same way.
    if [[ $code = [023] && $(cat "$job/after") = delete ]]; then
        setsid bash "$script" depart "${job##*/}" </dev/null >>"$job/log" 2>&1 9>&- &
    fi
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

keep() {
    [ ! -e "$root/current" ] || echo keep >"$root/jobs/$(cat "$root/current")/after"
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
    [[ ${1:-} =~ ^(|work|depart|lifetime)$ ]] || trap 'echo "fdl-tpu exit $?"' EXIT
    case ${1:-} in
        '') begin_lifetime ;;
        setup) setup "${@:2}" ;;
        start) start "${@:2}" ;;
        work) work "${@:2}" ;;
        poll) poll "${@:2}" ;;
        keep) keep ;;
        stop) stop ;;
        depart) depart "${@:2}" ;;
        lifetime) lifetime ;;
        *) fail "there is no command $1" 2 ;;
    esac
}

main "$@"
exit
