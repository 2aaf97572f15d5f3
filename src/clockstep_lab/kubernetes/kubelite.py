"""The API of a Kubernetes of today (1.36), for tests: real API machinery, without kubelets, controllers, scheduler."""

import secrets
from pathlib import Path

from . import builds
from .cluster import Cluster

SERVICE_ACCOUNTS = "system:serviceaccounts"


class Kubelite(Cluster):
    """kubelite and its etcd; `build/kubelite/main.go` says what of it is real."""

    def token(self, namespace: str, name: str) -> str:
        """A token of a service account, there or not, as valid as the cluster is.

        kubelite issues none: it reads them from a file when it starts, so a new one restarts it.
        """
        user = f"system:serviceaccount:{namespace}:{name}"
        known = {line.split(",")[1]: line.split(",")[0] for line in self._tokens.read_text().splitlines()}
        if user not in known:
            known[user] = secrets.token_hex(16)
            with self.away(), self._tokens.open("a") as file:
                file.write(f'{known[user]},{user},{user},"{SERVICE_ACCOUNTS},{SERVICE_ACCOUNTS}:{namespace}"\n')
        return known[user]

    @property
    def _tokens(self) -> Path:
        """Lines of token, user, id, groups."""
        return self.home / "tokens.csv"

    def _api_program(self) -> Path:
        return builds.kubelite(self.say) / "kubelite"

    def _api_flags(self) -> dict[str, object]:
        self._tokens.touch(mode=0o600)
        return super()._api_flags() | {"token-auth-file": self._tokens}
