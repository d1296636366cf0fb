# Starts, watches and ends the emulated machine. Sourced.
# shellcheck shell=bash

KERNEL_OPTIONS="mitigations=off nokaslr panic=-1 oops=panic tsc=reliable"
BOOT_DEADLINE=${SMOLVM_LAB_BOOT_DEADLINE:-180} # s

# Prints QEMU's process id while it runs. Its command line names the disk: a number may be reused.
machine_pid() {
    local pid
    pid=$(cat "$LAB/qemu.pid" 2>/dev/null) &&
        tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "file=$LAB/disk.img," && echo "$pid"
}
running() { machine_pid >/dev/null; }

answers() { timeout 15 ssh "${SSH[@]}" root@127.0.0.1 true 2>/dev/null </dev/null; }

console_end() {
    echo "--- the end of the guest's console ($LAB/console.log):"
    tail -n 25 "$LAB/console.log" 2>/dev/null | tr -d '\r' || true
    if [[ -s $LAB/qemu.log ]]; then
        echo "--- QEMU wrote:"
        tail -n 10 "$LAB/qemu.log"
    fi
    echo "---"
} >&2

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_port() {
    local port=${SMOLVM_LAB_PORT:-}
    if [[ -z $port ]]; then
        port=$(/usr/bin/python3 -c '
import socket
with socket.socket() as any_port:
    any_port.bind(("127.0.0.1", 0))
    print(any_port.getsockname()[1])')
    fi
    port_is_free "$port" || die "port $port of 127.0.0.1 is taken: name another in SMOLVM_LAB_PORT," \
        "or leave it unset and get a free one"
    echo "$port"
}

# usage: start_machine PORT THROWAWAY LIFETIME
start_machine() {
    local tree=$LAB/qemu lifetime=() disk
    disk="file=$LAB/disk.img,if=none,id=disk,format=raw,cache=unsafe,discard=unmap"
    if (( $2 )); then disk+=",snapshot=on"; fi
    if (( $3 )); then lifetime=(timeout --kill-after 10 "$3"); fi
    rm -f "$LAB"/{console.log,qemu.pid}
    echo "$1" >"$LAB/port"
    echo "$2" >"$LAB/throwaway"
    # Not --daemonize: a lifetime would end its parent only. Not our lock: it would keep it.
    TMPDIR=$LAB QEMU_MODULE_DIR=$tree/usr/lib/x86_64-linux-gnu/qemu setsid "${lifetime[@]}" \
        "$tree/usr/bin/qemu-system-x86_64" -L "$tree/usr/share/qemu" -L "$tree/usr/share/seabios" \
        -name smolvm-lab -machine q35 -nodefaults -no-reboot -display none \
        -accel tcg,thread=multi,tb-size=1024 -cpu max,la57=off,vgif=off -smp 2 -m "$MEMORY" \
        -kernel "$LAB/kernel/boot/vmlinuz-$(kernel_version)" -initrd "$LAB/initrd.img" \
        -append "console=ttyS0 root=/dev/vda rw $KERNEL_OPTIONS" \
        -drive "$disk" -device virtio-blk-pci,drive=disk \
        -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$1-:22" \
        -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci \
        -rtc base=utc -serial "file:$LAB/console.log" -pidfile "$LAB/qemu.pid" \
        </dev/null >"$LAB/qemu.log" 2>&1 9>&- &
}

wait_for_machine() {
    local deadline=$((SECONDS + BOOT_DEADLINE)) started=$1
    until answers; do
        if ! running && (( SECONDS > started + 5 )); then
            console_end
            die "the emulated machine ended while it booted"
        fi
        if (( SECONDS > deadline )); then
            console_end
            stop_machine
            die "the emulated machine did not answer within $BOOT_DEADLINE s"
        fi
        sleep 1
    done
}

# usage: up THROWAWAY LIFETIME
up() {
    local started=$SECONDS
    if running; then
        use_port
        answers || die "the lab runs and does not answer: 'lab down', then 'lab up'"
        say "the lab is up"
        return
    fi
    build
    local free
    free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
    (( free > MEMORY )) || say "warning: $free MiB of memory are available and the guest may take" \
        "$MEMORY: lower SMOLVM_LAB_MEM (MiB) if it gets killed"
    local port
    port=$(choose_port)
    say "starting the lab"
    started=$SECONDS
    start_machine "$port" "$1" "$2"
    use_port
    wait_for_machine "$started"
    # Its own clock is only as good as the emulation.
    in_guest "date --utc --set=@$(date +%s) >/dev/null && test -c /dev/kvm" || {
        console_end
        die "the guest has no /dev/kvm: this QEMU or this kernel does not emulate SVM"
    }
    say "the lab is up after $((SECONDS - started)) s, ssh on 127.0.0.1:$port"
}

stop_machine() {
    local pid deadline=$((SECONDS + 30))
    pid=$(machine_pid) || return 0
    if [[ $(<"$LAB/throwaway") == 0 ]]; then
        timeout 15 ssh "${SSH[@]}" root@127.0.0.1 'sync; systemctl poweroff --force' \
            </dev/null 2>/dev/null || true
        while running && (( SECONDS < deadline )); do sleep 0.3; done
    fi
    if running; then kill "$pid" 2>/dev/null || true; fi
    deadline=$((SECONDS + 10))
    while running && (( SECONDS < deadline )); do sleep 0.2; done
    if running; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -f "$LAB/qemu.pid"
}

# Says how the lab is; 3 if it does not run, as for a service.
status() {
    local pid engine="not built"
    if [[ -f $LAB/stamps/engine ]]; then read -r engine _ <"$LAB/stamps/engine"; fi
    echo "state:  $LAB ($(du -sh "$LAB" 2>/dev/null | cut -f1))"
    echo "engine: smolmachines $engine"
    if ! pid=$(machine_pid); then
        echo "machine: not running"
        return 3
    fi
    use_port
    echo "machine: process $pid, ssh on 127.0.0.1:$(<"$LAB/port")"
    if answers; then
        echo "guest:  answers; microVMs: $(in_guest 'smolvm machine ls -q' </dev/null | paste -sd' ')"
    else
        echo "guest:  does not answer"
        return 1
    fi
}
