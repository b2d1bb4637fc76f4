#!/usr/bin/env python3
"""slow_line.py PORT TARGET RATE: a slow line to the server on port TARGET of loopback. It forwards the bytes that clients
send to PORT at RATE bytes per second over all connections together. Responses are not delayed."""

import asyncio
import socket
import sys

PIECE = 4096


class Line:
    def __init__(self, rate):
        self.rate = rate
        self.free_at = 0.0

    async def take(self, size):
        """Waits until the line has carried `size` bytes, in the order of the calls."""
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now) + size / self.rate
        await asyncio.sleep(self.free_at - now)


async def carry(reader, writer, line=None):
    try:
        while piece := await reader.read(PIECE if line else 1 << 16):
            if line:
                await line.take(len(piece))
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def main():
    port, target, rate = (int(word) for word in sys.argv[1:])
    line = Line(rate)

    async def connected(reader, writer):
        # The small limit and the listener's small buffer keep waiting bytes at the client.
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(carry(reader, to_writer, line), carry(to_reader, writer))
        to_writer.close()
        writer.close()

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.start_server(connected, sock=listener, limit=PIECE)
    await server.serve_forever()


asyncio.run(main())
