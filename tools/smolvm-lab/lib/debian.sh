# Gets packages of Debian without installing them. Sourced; needs settings.sh.
# shellcheck shell=bash

KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# Prints the mirror to use: this host's own, if it has one of Debian.
mirror() {
    local found
    found=${SMOLVM_LAB_MIRROR:-$(cat /etc/apt/sources.list{,.d/*.list,.d/*.sources} 2>/dev/null |
        grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 || true)}
    echo "${found:-https://deb.debian.org/debian}"
}

# Any apt command, on lists of its own in WORK, as if nothing were installed.
#
# usage: apt_apart WORK ARGUMENT...
apt_apart() {
    local work=$1
    shift
    "${1?}" -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State="$work/state" -o Dir::State::status=/dev/null \
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o APT::Install-Recommends=false \
        -o Acquire::Retries=3 -o Acquire::Languages=none "${@:2}"
}

# Reads the lists of SUITE into WORK.
#
# usage: debian_lists WORK SUITE
debian_lists() {
    [[ -f $KEYRING ]] || die "no $KEYRING: install debian-archive-keyring"
    mkdir -p "$1"/{state/lists/partial,cache/archives/partial}
    echo "deb [signed-by=$KEYRING] $(mirror) $2 main" >"$1/sources.list"
    apt_apart "$1" apt-get update -qq || die "cannot read the package lists of $2 from $(mirror)" \
        "(SMOLVM_LAB_MIRROR names another mirror)"
}

# Unpacks every package that is in WORK into ROOT, except what tar's OPTIONs leave out.
#
# usage: unpack_debs WORK ROOT [OPTION...]
unpack_debs() {
    local deb
    for deb in "$1"/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -C "$2" --keep-directory-symlink "${@:3}" -xpf -
    done
}
