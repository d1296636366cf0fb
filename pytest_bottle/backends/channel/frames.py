"""The frames of the exec channel, as both ends know them.

A frame is a big-endian length (4 bytes, of the payload), a kind (1 byte), the number of the exec
that it is about (4 bytes), and the payload.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("!IcI")

SPAWN, STDIN, STDIN_END, KILL, DETACH, QUIT = b"X", b"I", b"E", b"K", b"D", b"Q"
HELLO, STDOUT, STDERR, FAILED, DONE = b"H", b"O", b"R", b"F", b"Z"
