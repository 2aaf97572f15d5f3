"""What both Kubernetes servers of the lab have: an etcd, an API server, certificates by one authority, kubeconfigs."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from clockstep_lab.cache import Say
from clockstep_lab.places import account
from clockstep_lab.ports import free_tcp_ports
from clockstep_lab.run import run
from clockstep_lab.seed import HOST, HOST_NAME
from clockstep_lab.tls import Authority, Certificate, Validity

from . import builds
from .api import Api
from .kubeconfig import User, by_certificate, kubeconfig
from .server import Flags, Server

HOSTS = ("localhost", "127.0.0.1", HOST, HOST_NAME, "kubernetes.default.svc", "10.96.0.1")
"""The names in the servers' certificates: as they are called from here, by guests of QEMU's user network, by pods."""
PORTS = ("api", "etcd", "peer", "controllers", "scheduler")
ADMIN = ("admin", "system:masters")
KUBECTL_S = 60


class Cluster(ABC):
    """A Kubernetes in a lab's folder, on loopback; a context manager that starts and ends it.

    Its servers run under the lab's account, outlive the process that started them, and end with the lab
    (`processes.end_all`). What the folder has already is gone on with: ports, certificates, and what etcd keeps.
    Everything raises LabError.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder, self.home, self.say = folder, folder / "kubernetes", say
        for path in (folder, folder / "run", self.home, self.home / "etcd"):
            path.mkdir(mode=0o700, exist_ok=True)
        self.ports = self._known_ports()
        self.authority = Authority(self.home / "pki")
        self.admin = self.api_as(*ADMIN)
        self.kubeconfig = self.kubeconfig_of("admin", by_certificate(self.certificate(*ADMIN)))
        self.etcd = self._etcd()
        unverified = Api(self.port, certificate=self.certificate(*ADMIN))
        self.api_server = self.server(self._api_program(), self._api_flags(), unverified.is_ready)

    @property
    def port(self) -> int:
        """The API server's port, on loopback."""
        return self.ports["api"]

    @property
    def servers(self) -> tuple[Server, ...]:
        """All servers, in the order in which they start."""
        return (self.etcd, self.api_server)

    def start(self) -> None:
        """Start what does not run, and wait until all is ready."""
        self._hand_over()
        for server in self.servers:
            server.start()

    def stop(self) -> None:
        """End all servers; the folder stays."""
        for server in reversed(self.servers):
            server.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @contextmanager
    def away(self) -> Iterator[None]:
        """The API server, and what works through it, is away in the block, and back on the same port after it."""
        for server in reversed(self.servers[1:]):
            server.stop()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def showing(self, validity: Validity) -> Iterator[None]:
        """The API server shows a certificate of this validity in the block, and one that is good after it."""
        with self.away():
            self.authority.issue("serving", hosts=HOSTS, validity=validity)
            try:
                self._hand_over()
                self.api_server.start()
                yield
            finally:
                self.api_server.stop()
                self.authority.issue("serving", hosts=HOSTS)

    def certificate(self, user: str, *groups: str) -> Certificate:
        """The certificate by which a user of these groups is known, made if there is none yet."""
        return self.authority.once(user, groups=groups)

    def api_as(self, user: str, *groups: str) -> Api:
        """The API for a user of these groups, who shows a client certificate."""
        return Api(self.port, self.authority.certificate.file, certificate=self.certificate(user, *groups))

    def api_with(self, token: str) -> Api:
        """The API for whoever shows this token."""
        return Api(self.port, self.authority.certificate.file, token)

    def kubeconfig_of(self, name: str, user: User, host: str = "127.0.0.1") -> Path:
        """Write a kubeconfig for a user; `host` is how the API server is called from where it is used."""
        file = self.home / f"{name}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(kubeconfig(f"https://{host}:{self.port}", self.authority.certificate.file, user))
        return file

    def kubectl(self, *words: str | Path, stdin: bytes | None = None) -> str:
        """Run kubectl as admin and return what it printed."""
        command = [builds.kubernetes(self.say) / "kubectl", "--kubeconfig", self.kubeconfig, *words]
        return run(command, stdin=stdin, timeout_s=KUBECTL_S).decode()

    @abstractmethod
    def token(self, namespace: str, name: str) -> str:
        """A token of a service account that there is."""

    @abstractmethod
    def _api_program(self) -> Path:
        """The API server's program."""

    def _api_flags(self) -> dict[str, object]:
        """The API server's flags: those that both servers know."""
        serving, etcd = self.authority.once("serving", hosts=HOSTS), self.certificate("etcd-client")
        return {
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "tls-cert-file": serving.file,
            "tls-private-key-file": serving.key,
            "client-ca-file": self.authority.certificate.file,
            "etcd-servers": f"https://127.0.0.1:{self.ports['etcd']}",
            "etcd-cafile": self.authority.certificate.file,
            "etcd-certfile": etcd.file,
            "etcd-keyfile": etcd.key,
            "authorization-mode": "Node,RBAC",
        }

    def _etcd(self) -> Server:
        shown, authority = self.authority.once("etcd", hosts=HOSTS), self.authority.certificate.file
        ours, peers = (f"https://127.0.0.1:{self.ports[name]}" for name in ("etcd", "peer"))
        flags: dict[str, object] = {
            "data-dir": self.home / "etcd",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
            "listen-client-urls": ours,
            "advertise-client-urls": ours,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"default={peers}",
        }
        for prefix in ("", "peer-"):
            flags |= {f"{prefix}cert-file": shown.file, f"{prefix}key-file": shown.key}
            flags |= {f"{prefix}client-cert-auth": "true", f"{prefix}trusted-ca-file": authority}
        asked = Api(self.ports["etcd"], authority, certificate=self.certificate("etcd-client"))
        return self.server(builds.etcd(self.say) / "etcd", flags, lambda: asked.is_ready("/health"))

    def server(self, program: Path, flags: Flags, is_ready: Callable[[], bool]) -> Server:
        """A server of this cluster."""
        return Server(self.folder, account(), program, flags, is_ready)

    def _known_ports(self) -> dict[str, int]:
        """The ports that were written down in the folder, or free ones."""
        file = self.home / "ports.json"
        if not file.exists():
            file.write_text(json.dumps(dict(zip(PORTS, free_tcp_ports(len(PORTS)), strict=True))))
        ports: dict[str, int] = json.loads(file.read_text())
        return ports

    def _hand_over(self) -> None:
        """Give the lab's account what this process has written; not what etcd writes, whose files come and go."""
        owner, pki = account(), self.home / "pki"
        for path in (self.folder, self.folder / "run", self.home, *self.home.iterdir(), *pki.rglob("*")):
            os.chown(path, owner.uid, owner.gid)
