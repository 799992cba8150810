"""A model hub on this machine: `python tests/hub.py FOLDER` prints its address and serves.

FOLDER/<organisation>/<name>/ holds the files of a model. The routes are the ones huggingface_hub
asks for, so HF_ENDPOINT set to the address drives its real code without a network.
"""

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    root: Path

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self.describe(self.root / "/".join(parts[2:4]), parts[4:])
        elif parts[2:3] == ["resolve"]:
            self.send_file(self.root / parts[0] / parts[1] / "/".join(parts[4:]))
        else:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})

    def describe(self, model: Path, rest: list[str]):
        if not model.is_dir():
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        files = sorted(path for path in model.rglob("*") if path.is_file())
        names = [str(path.relative_to(model)) for path in files]
        if rest[:1] == ["tree"]:
            sizes = [path.stat().st_size for path in files]
            found = [
                {"type": "file", "path": name, "size": size, "oid": "0" * 40}
                for name, size in zip(names, sizes, strict=True)
            ]
        else:
            repo = str(model.relative_to(self.root))
            siblings = [{"rfilename": name} for name in names]
            found = {"id": repo, "sha": COMMIT, "siblings": siblings, "private": False}
        return self.answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

    def send_file(self, path: Path):
        if not path.is_file():
            return self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
        body = path.read_bytes()
        tag = hashlib.sha256(body).hexdigest()
        return self.answer(200, body, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def answer(self, status: int, body: bytes, headers: dict[str, str]):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    Hub.root = Path(sys.argv[1]).resolve()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
