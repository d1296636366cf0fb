"""Make a libkrun give every microVM one virtual CPU, whatever it was asked for. For the lab only.

QEMU's emulation of SVM fails with more than one virtual CPU at work in a nested guest.

usage: one_vcpu.py LIBKRUN
"""

import sys
from pathlib import Path

# mov byte [rsp+0x20], 1; mov [rsp+0x21], al  ->  the same two, with 1 for the number asked for
ASKED_FOR = bytes.fromhex("c6442420014088742421")
ONE = bytes.fromhex("c644242001c644242101")


def main(library):
    code = library.read_bytes()
    found = code.count(ASKED_FOR)
    if found == 1:
        library.write_bytes(code.replace(ASKED_FOR, ONE))
        return
    print(
        "*" * 78,
        f"WARNING: {library.name} is not the one that the lab knows: the place that sets the",
        f"number of virtual CPUs was found {found} times, not once. It stays as it is.",
        "Give every microVM one CPU (--cpus 1), or it will hang or end the lab.",
        "*" * 78,
        sep="\n",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
