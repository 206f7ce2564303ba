"""A server on this machine that hands out a folder and counts who asks.

It runs in a process of its own: GDAL waits for an answer without letting other threads of its process go on.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Asked:
    """What a server was asked for, which it writes to a file before it answers."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def __len__(self) -> int:
        return len(self.log.read_text().splitlines())

    def clear(self) -> None:
        self.log.write_text('')


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, Asked]]:
    """Yields the address of the folder and what was asked for."""
    with tempfile.NamedTemporaryFile() as log:
        command = [sys.executable, '-S', __file__, str(folder), log.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                yield f'http://127.0.0.1:{int(server.stdout.readline())}', Asked(Path(log.name))
            finally:
                server.terminate()


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        with open(sys.argv[2], 'a') as log:
            log.write(f'{self.command} {self.path}\n')
        path = Path(sys.argv[1], self.path.lstrip('/'))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        part = re.fullmatch(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
        first = int(part[1]) if part else 0
        last = min(int(part[2]) if part and part[2] else len(data) - 1, len(data) - 1)
        self.send_response(206 if part else 200)
        if part:
            self.send_header('Content-Range', f'bytes {first}-{last}/{len(data)}')
        self.send_header('Accept-Ranges', 'bytes')
        self.send_header('Content-Length', str(last + 1 - first))
        self.end_headers()
        if body:
            self.wfile.write(data[first : last + 1])

    def log_message(self, *_: object) -> None:
        pass


if __name__ == '__main__':
    with ThreadingHTTPServer(('127.0.0.1', 0), Handler) as http:
        print(http.server_port, flush=True)
        http.serve_forever()
