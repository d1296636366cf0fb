"""The frames of the exec channel, as both ends know them.

A frame is a big-endian length (4 bytes, of the payload), a kind (1 byte), the number of the exec or
other request that it is about (4 bytes), and the payload.

It is a part of the program that `program.py` sends to guests: see there for its limits.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("!IcI")

SPAWN, STDIN, STDIN_END, KILL, DETACH, QUIT = b"X", b"I", b"E", b"K", b"D", b"Q"
LISTEN = b"L"
ALONE = b"A"
"""Drops all other clients: in a branch they are the source's, and will never be heard of."""
OPEN, DATA, TAKEN, SHUT, CUT = b"N", b"B", b"T", b"S", b"C"
"""About a connection of the guest's: it is there, its bytes, how many of them were passed on, the
end of one direction, and of both at once. The server numbers them."""

WINDOW = 1024 * 1024
"""Bytes of a connection that one direction may have on their way."""

HELLO, STDOUT, STDERR, FAILED, DONE = b"H", b"O", b"R", b"F", b"Z"
