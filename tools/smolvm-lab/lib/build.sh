# Makes the parts of the lab, each only if what it is made from changed. Sourced.
# shellcheck shell=bash

GUEST_PACKAGES=python3,openssh-server,rsync,kmod,udev,systemd-sysv,iproute2,procps,e2fsprogs
GUEST_PACKAGES+=,ca-certificates,curl,netbase,git,gzip,xz-utils,busybox-static,less
HOST_PROGRAMS=(
    # PROGRAM=PACKAGE. Debian 12's QEMU is too old to run, and brings the libraries of the newer.
    qemu-system-x86_64=qemu-system-x86 debootstrap=debootstrap depmod=kmod cpio=cpio
    ssh=openssh-client rsync=rsync gcc=gcc mkfs.ext4=e2fsprogs zstd=zstd busybox=busybox-static flock=util-linux
)

# Ends the build where it cannot work, and installs from Debian what is missing.
check_host() {
    local debian missing=() pair free
    [[ $(uname -m) == x86_64 ]] || die "the lab needs x86_64, and this host is $(uname -m)"
    (( EUID == 0 )) || die "building the lab needs root: it makes a Debian root directory"
    command -v apt-get >/dev/null || die "building the lab needs apt: run it on Debian 12"
    debian=$(. /etc/os-release && echo "$ID $VERSION_ID")
    [[ $debian == "debian 12" ]] || die "the lab is built on Debian 12 ('debian 12' in" \
        "/etc/os-release), and this host is '$debian': run it in a container of debian:12"
    free=$(df --output=avail -m "$LAB" | tail -n 1)
    (( free > 4000 )) || die "$LAB has $free MiB free, and the lab needs 4000:" \
        "make room, or name another directory in SMOLVM_LAB"

    for pair in "${HOST_PROGRAMS[@]}"; do
        command -v "${pair%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [[ -f /usr/include/stdio.h ]] || missing+=(libc6-dev)
    [[ -f /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
    /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if (( ${#missing[@]} )); then
        say "installing ${missing[*]}"
        apt-get update -qq || die "apt-get update failed: see above"
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
            ca-certificates "${missing[@]}" >/dev/null ||
            die "cannot install ${missing[*]}: see above"
    fi
}

# Makes $LAB/NAME with COMMAND, unless it was made from the same INPUTS. A making that fails leaves
# nothing that looks made.
#
# usage: make NAME INPUTS COMMAND...
make() {
    local path=$LAB/$1 stamp=$LAB/stamps/$1 inputs=$2
    if [[ -e $path && -f $stamp && $(<"$stamp") == "$inputs" ]]; then
        return
    fi
    say "making $1"
    rm -rf "$stamp" "$path.new"
    "${@:3}" "$path.new"
    rm -rf "$path"
    mv "$path.new" "$path"
    printf '%s\n' "$inputs" >"$stamp"
}

make_rootfs() {
    debootstrap --variant=minbase --include="$GUEST_PACKAGES" "$SUITE" "$1" "$(mirror)" \
        >"$LAB/debootstrap.log" 2>&1 || {
        tail -n 20 "$LAB/debootstrap.log" >&2
        die "debootstrap failed; all that it wrote is in $LAB/debootstrap.log"
    }
    rm -rf "$1"/var/{cache/apt/archives,lib/apt/lists}/* "$1"/usr/share/{doc,locale,man}/*
}

# Unpacks packages of a suite, without their dependencies.
#
# usage: unpack_from SUITE PACKAGE... DIRECTORY
unpack_from() {
    local work="$LAB/work"
    rm -rf "$work"
    mkdir -p "${@: -1}"
    debian_lists "$work" "$1"
    (cd "$work/cache/archives" && apt_apart "$work" apt-get download -qq "${@:2:$#-2}")
    unpack_debs "$work" "${@: -1}"
    rm -rf "$work"
}

make_kernel() {
    local work="$LAB/work" package
    rm -rf "$work"
    debian_lists "$work" "$SUITE"
    package=$(apt_apart "$work" apt-cache depends linux-image-cloud-amd64 |
        awk '/Depends: linux-image/ { print $2; exit }')
    unpack_from "$SUITE" "$package" "$1"
}

# Debian 12's own QEMU does not emulate enough of SVM.
make_qemu() {
    unpack_from "$SUITE-backports" \
        {qemu-system-x86,qemu-system-common,qemu-system-data,seabios}/"$SUITE-backports" "$1"
}

# The pip that gets the engine, and later what the project needs: its Python is the guest's.
make_builder() {
    /usr/bin/python3 -m venv "$1"
    # pip is run by its module, so that the directory can be renamed.
    "$1/bin/python" -m pip --version >/dev/null
}

make_engine() {
    local template
    rm -rf "$LAB/wheel"
    "$LAB/builder/bin/python" -m pip download -qq --no-deps --only-binary :all: \
        --dest "$LAB/wheel" "smolmachines==$SMOLMACHINES" || die "cannot download smolmachines $SMOLMACHINES: see above"
    /usr/bin/python3 -m zipfile -e "$LAB"/wheel/smolmachines-*.whl "$1"
    rm -rf "$LAB/wheel"
    chmod +x "$1"/smol/smol-vmm "$1"/smol/*.so*
    # The engine would unpack them at its first start, which takes minutes under emulation.
    for template in overlay storage; do
        zstd --quiet --decompress --sparse "$1/smol/$template-template.ext4.zst" \
            -o "$1/smol/$template-template.ext4"
        fallocate --dig-holes "$1/smol/$template-template.ext4"
    done
    /usr/bin/python3 "$HERE/one_vcpu.py" "$1/smol/libkrun.so"
}

# Prints what the egress proxy's environment is made from.
proxy_requirements() {
    /usr/bin/python3 -c '
import ast, sys
tree = ast.parse(sys.stdin.read())
(found,) = (node.value for node in tree.body
            if isinstance(node, ast.AnnAssign) and node.target.id == "REQUIREMENTS")
print(*eval(compile(ast.Expression(found), "REQUIREMENTS", "eval")), sep="\n")' \
        <"$PROJECT/pytest_bottle/gateway/egress/environment.py"
}

# The egress proxy's environment, which a guest without a network cannot install. It is no virtual
# one: a directory of libraries, and a program that is the guest's Python with them.
make_proxy() {
    local requirements
    mkdir -p "$1"
    [[ $DOOR == yes ]] || return 0
    mapfile -t requirements < <(proxy_requirements)
    builder_pip install --target "$1/site" "${requirements[@]}"
    rm -rf "$1/site/bin"
    printf '%s\n' '#!/bin/sh' 'PYTHONPATH=/opt/proxy/site exec /usr/bin/python3 "$@"' >"$1/python"
    chmod 755 "$1/python"
}

make_pin() { gcc -O2 -Wall -shared -fPIC -o "$1" "$HERE/pin.c" -ldl; }
make_key() { ssh-keygen -q -t ed25519 -N '' -f "$1" -C smolvm-lab && mv "$1.pub" "$LAB/id.pub"; }

claude_identity() { [[ -z $CLAUDE ]] || stat --printf ' %n %s %Y' "$CLAUDE"; }

build() {
    mkdir -p "$LAB/stamps"
    check_host
    make builder "$(/usr/bin/python3 --version)" make_builder
    make rootfs "$SUITE $GUEST_PACKAGES" make_rootfs
    make kernel "$SUITE" make_kernel
    make qemu "$SUITE-backports" make_qemu
    make engine "$SMOLMACHINES $(digest "$HERE/one_vcpu.py")" make_engine
    make pin.so "$(digest "$HERE/pin.c")" make_pin
    [[ -z $CLAUDE || -f $CLAUDE ]] || die "SMOLVM_LAB_CLAUDE is no file: $CLAUDE"
    make images "$DOOR$(claude_identity) $(digest "$HERE"/{make-images,archive.py,lib/debian.sh})" "$HERE/make-images"
    make proxy "$DOOR $(proxy_requirements)" make_proxy
    make id ed25519 make_key
    make initrd.img "$(<"$LAB/stamps/kernel") $(digest "$HERE/guest/init")" make_initrd
    make disk.img "$(digest "$LAB"/stamps/{rootfs,kernel,engine,pin.so,images,proxy} "$LAB/id.pub" \
        "$HERE/lib/disk.sh" "$HERE"/guest/*)" make_disk
}
