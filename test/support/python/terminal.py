"""Runs a command on a pseudo terminal of 80 columns, between this process's own pipes, and ends with its exit code."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])

is_open = True
while is_open:
    for reader in select.select([terminal, 0], [], [])[0]:
        try:
            data = os.read(reader, 65536)
        except OSError:  # The command has ended, and with it the terminal.
            data = b""
        if not data:
            is_open = False
        else:
            os.write(1 if reader == terminal else terminal, data)

os.close(terminal)  # Whoever uses it still is hung up.
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 255)
