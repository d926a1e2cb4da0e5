"""What Google's TPU and Compute Engine APIs are for the real gcloud in the tests, on a fake cloud."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.tpu import fake_cloud

TOKEN = "ya29.a-token_of.this"
METADATA = {
    "instance/attributes/fdl-name": "sweep-1",
    "instance/attributes/fdl-zone": "us-east5-b",
    "instance/attributes/fdl-lifetime": "2",
    "instance/attributes/tpu-env": "ZONE: 'us-east5-b'\nCONSUMER_PROJECT_ID: 'fake'\n",
    "instance/service-accounts/default/token": f'{{"access_token":"{TOKEN}","expires_in":3000}}',
}
"""What the metadata server of a worker knows."""


def serve(folder: Path) -> tuple[ThreadingHTTPServer, list[dict[str, Any]]]:
    """Serves on a free port until it is shut down; also gives the requests for slices, which grow."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/metadata/"):
                known = self.headers["Metadata-Flavor"] == "Google" and METADATA.get(self.path[10:])
                self._send(200, known) if known else self._send(404, "")
                return
            if self._refuses():
                return
            status, body = _get(folder, self.path.partition("?")[0])
            self._send(status, {**body, **keys} if "networkEndpoints" in body else body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self._refuses():
                return
            if self.path.partition("?")[0].endswith("/queuedResources"):
                created.append(json.loads(body))
                error = fake_cloud.create(folder)
                self._send(*((429, _error(429, error)) if error else (200, _operation(done=False))))
            else:  # guest attributes: there are none
                self._send(404, _error(404, "no guest attributes"))

        def do_PATCH(self) -> None:  # the ssh key goes into the VMs' metadata
            keys["metadata"] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["metadata"]
            self._send(200, _operation(done=True))

        def do_DELETE(self) -> None:
            group = "/zones/us-east5-b/instanceGroupManagers/sweep-1" in self.path
            if self._refuses() or not (group or "force=true" in self.path.lower()):
                return
            fake_cloud.delete(folder)
            self._send(200, _operation(done=False))

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

        def _refuses(self) -> bool:
            """Whether who asks may not: a worker, by its token; or nobody may."""
            with fake_cloud.opened(folder) as state:
                denied = self.headers["Authorization"] not in (None, f"Bearer {TOKEN}") or state["deny"]
                status = state["status"] or ((403, "no") if denied else None)
            if status:
                code, message = status
                self._send(code, _error(code, message))
            return status is not None

        def _send(self, status: int, body: dict[str, Any] | str) -> None:
            text = (body if isinstance(body, str) else json.dumps(body)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            with contextlib.suppress(BrokenPipeError):  # a worker that asked for its own end is gone
                self.wfile.write(text)

    keys: dict[str, Any] = {}
    created: list[dict[str, Any]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, created


def _get(folder: Path, path: str) -> tuple[int, dict[str, Any]]:
    name = path.removeprefix("/v2/")
    if "/operations/" in path:
        return 200, _operation(done=True)
    if path.startswith("/compute/"):
        return 200, {"kind": "compute#project", "name": "fake", "commonInstanceMetadata": {}}
    queued, node = fake_cloud.look(folder)
    if path.endswith("/queuedResources"):
        return 200, {
            "queuedResources": [{"name": f"{name}/sweep-1", "state": {"state": queued}}] * bool(queued)
        }
    if path.endswith("/nodes"):
        about = {"name": f"{name}/sweep-1", "acceleratorType": "v4-16", "state": node, "apiVersion": "V2"}
        return 200, {"nodes": [{**about, "createTime": "2026-11-27T10:00:00.5Z"}] * bool(node)}
    if "/queuedResources/" in path and queued:
        return 200, {"name": name, "state": {"state": queued}}
    if "/nodes/" in path and node:
        endpoints = [{"ipAddress": f"10.0.0.{worker}", "port": 8470} for worker in range(fake_cloud.WORKERS)]
        about = {"name": name, "id": "17", "state": node, "apiVersion": "V2", "acceleratorType": "v4-16"}
        return 200, {**about, "networkEndpoints": endpoints}
    return 404, _error(404, "Resource not found")


def _operation(*, done: bool) -> dict[str, Any]:
    name = "projects/fake/locations/us-east5-b/operations/one"
    return {
        "name": name,
        "done": done,
        **({"response": {"name": "projects/fake/locations/us-east5-b/nodes/sweep-1"}} if done else {}),
    }


def _error(code: int, message: str) -> dict[str, Any]:
    status = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}[
        code
    ]
    return {"error": {"code": code, "message": message, "status": status}}
