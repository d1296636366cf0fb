# Where the lab lives, what it is made of, and how it says so. Sourced.
# shellcheck shell=bash disable=SC2034

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB=${SMOLVM_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/pytest-bottle/smolvm-lab}
MEMORY=${SMOLVM_LAB_MEM:-8192} # MiB, of which every microVM takes 512 to 1024
DISK_SIZE=40G                  # sparse: it takes what is written

DOOR=${SMOLVM_LAB_DOOR:-yes}    # what the attempts at a bottle's door need; `no` leaves it out
CLAUDE=${SMOLVM_LAB_CLAUDE:-}   # a program of Claude Code, for an image with it; else there is none

SUITE=bookworm
SMOLMACHINES=${SMOLVM_LAB_SMOLMACHINES:-1.32.2}

say() { printf '== %s\n' "$*" >&2; }
die() {
    printf 'lab: %s\n' "$*" >&2
    exit 1
}
digest() { cat -- "$@" | sha256sum | cut -d' ' -f1; }
