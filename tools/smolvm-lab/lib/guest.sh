# Runs commands in the guest and moves files. Sourced.
# shellcheck shell=bash

SSH=() # the options that reach the guest, set by use_port

use_port() {
    # The port as ssh and scp both understand it.
    SSH=(
        -o Port="$(<"$LAB/port")" -q -i "$LAB/id" -o BatchMode=yes -o ConnectTimeout=10 -o StrictHostKeyChecking=no
        -o UserKnownHostsFile=/dev/null -o ServerAliveInterval=15 -o ServerAliveCountMax=8
    )
}

need_machine() {
    running || die "the lab does not run: 'lab up'"
    use_port
}

# shellcheck disable=SC2029 # what the caller expands, it means to
in_guest() { ssh "${SSH[@]}" root@127.0.0.1 "$@"; }

# Runs a command in the guest until it ends or its deadline passes: 124, and all that it started
# is ended. 125 where it was not the command but the guest that failed.
#
# usage: run SECONDS COMMAND [ARGUMENT...]
run() {
    local id=$$-$RANDOM code=0 client
    # In the background, or the shell would hear of a signal only when the command has ended.
    timeout --kill-after 10 $(($1 + 60)) \
        ssh "${SSH[@]}" root@127.0.0.1 "$(printf '%q ' lab-run "$id" "$@")" <&0 &
    client=$!
    # shellcheck disable=SC2064 # the values of now
    trap "in_guest lab-run --end $id </dev/null || true; kill $client || true; exit 130" INT TERM
    wait "$client" || code=$?
    trap - INT TERM
    if (( code == 124 || code == 255 || code == 137 )) && ! answers; then
        console_end
        say "the emulated guest panicked or hangs, under the command: 'lab down', then 'lab up'"
        code=125
    fi
    return "$code"
}

push() { scp -r -O "${SSH[@]}" "${@:1:$#-1}" "root@127.0.0.1:${*: -1}"; }
fetch() { scp -r -O "${SSH[@]}" "root@127.0.0.1:$1" "$2"; }
