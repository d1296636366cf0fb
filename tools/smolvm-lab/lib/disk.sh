# Makes what the guest boots from: its initial memory disk and its disk. Sourced.
# shellcheck shell=bash

BOOT_MODULES=(virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk)
QUIET_UNITS=(
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    e2scrub_reap.service systemd-timesyncd.service getty@tty1.service
    systemd-networkd-wait-online.service
)

kernel_version() { (cd "$LAB/kernel/lib/modules" && echo *); }

make_initrd() {
    local tree=$LAB/initrd module path
    rm -rf "$tree"
    mkdir -p "$tree"/{bin,dev,mnt,modules,proc,sys}
    cp "$LAB/rootfs/bin/busybox" "$tree/bin/"
    for module in "${BOOT_MODULES[@]}"; do
        path=$(find "$LAB/kernel/lib/modules" -name "$module.ko" -print -quit)
        if [[ -n $path ]]; then # some kernels have it built in
            cp "$path" "$tree/modules/"
            echo "$module" >>"$tree/modules/order"
        fi
    done
    install -m 755 "$HERE/guest/init" "$tree/init"
    (cd "$tree" && find . | cpio --create --format newc --quiet) | gzip -1 >"$1"
    rm -rf "$tree"
}

make_disk() {
    local root=$LAB/disk
    rm -rf "$root"
    cp -a --reflink=auto "$LAB/rootfs" "$root"
    put_kernel_modules "$root"
    put_configuration "$root"
    put_engine "$root"
    cp -a "$LAB/images" "$root/root/images"
    cp -a "$LAB/proxy" "$root/opt/proxy"
    truncate -s "$DISK_SIZE" "$1"
    mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 -O ^metadata_csum -d "$root" "$1" ||
        die "cannot make the guest's disk: is $LAB full?"
    rm -rf "$root"
}

put_kernel_modules() {
    local version
    version=$(kernel_version)
    mkdir -p "$1/usr/lib/modules"
    cp -a "$LAB/kernel/lib/modules/$version" "$1/usr/lib/modules/"
    depmod -b "$1" "$version"
}

put_configuration() {
    local root=$1 unit
    echo smolvm-lab >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 smolvm-lab\n' >"$root/etc/hosts"
    echo '/dev/vda / ext4 noatime 0 0' >"$root/etc/fstab"
    mkdir -p "$root"/etc/{systemd/network,ssh/sshd_config.d} "$root/opt/site"
    install -d -m 700 "$root/root/.ssh"
    install -m 600 "$LAB/id.pub" "$root/root/.ssh/authorized_keys"
    printf '%s\n' '[Match]' 'Name=e*' '[Network]' DHCP=no Address=10.0.2.15/24 Gateway=10.0.2.2 \
        >"$root/etc/systemd/network/10.network"
    printf '%s\n' kvm kvm_amd virtio_net overlay tun >"$root/etc/modules-load.d/lab.conf"
    echo 'options kvm_amd npt=1 nested=0' >"$root/etc/modprobe.d/lab.conf"
    printf '%s\n' 'UseDNS no' 'PermitRootLogin yes' 'GSSAPIAuthentication no' 'UsePAM no' \
        'SetEnv LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/opt/site/bin' \
        >"$root/etc/ssh/sshd_config.d/lab.conf"
    ln -sf /lib/systemd/system/systemd-networkd.service \
        "$root/etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    for unit in "${QUIET_UNITS[@]}"; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
    chroot "$root" passwd -d root >/dev/null # only its key opens it, and only from the host
    install -m 755 "$HERE/guest/lab-run" "$root/usr/local/bin/lab-run"
    # Python finds the engine before anything that the project brings.
    printf '%s\n' /opt/smol /opt/site >"$root/usr/local/lib/python3.11/dist-packages/lab.pth"
}

put_engine() {
    local root=$1 file
    mkdir -p "$root"/opt/{smol,smolvm}
    cp -a --sparse=always "$LAB/engine/." "$root/opt/smol/"
    # The command line under its own name beside its libraries, as the vendor installs it.
    cp "$LAB/engine/smol/smol-vmm" "$root/opt/smolvm/smolvm"
    for file in libkrun.so libkrunfw.so.5 agent-rootfs.tar.zst {overlay,storage}-template.ext4; do
        ln -s "/opt/smol/smol/$file" "$root/opt/smolvm/$file"
    done
    ln -s /opt/smolvm/smolvm "$root/usr/local/bin/smolvm"
    cp "$LAB/pin.so" "$root/usr/local/lib/pin.so"
    echo /usr/local/lib/pin.so >"$root/etc/ld.so.preload"
}
