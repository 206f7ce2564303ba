"""A server on this machine that hands out a folder and counts who asks."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def serve(folder: Path):
    """Yields the address of the folder and the list of what was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            asked.append(f'{self.command} {self.path}')
            path = folder / self.path.lstrip('/')
            if not path.is_file():
                return self.send_error(404)
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
            return None

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}', asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
