"""Which API server is meant and by which account: one context of the files that kubectl would read.

Several files are merged as kubectl does: of two entries with one name the first counts, and a path is relative to the
folder of its own file (kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from clockstep.errors import KubernetesError
from clockstep.model import KubeAccess

MOST_BYTES = 4 << 20
SHOWN = 10
PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
HINT = "choose another with --kubeconfig or --context; kubectl config get-contexts lists them"
FLATTEN = (
    "give it a kubeconfig with a token or certificates in it: kubectl config view --raw --flatten --minify; "
    "deploy/kubernetes has an account for it"
)
Entries = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Target:
    """One context: its cluster and user as the kubeconfig has them, with absolute paths."""

    context: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def server(self) -> str:
        """The address of the API server."""
        return str(self.cluster.get("server", ""))

    def known_by(self, given: Mapping[str, Any]) -> "Target":
        """Return this with what a plugin has given for its user, in the plugin's place."""
        return replace(self, user={**self.user, "exec": None, **given})


@dataclass(frozen=True, slots=True)
class _Merged:
    current: str
    contexts: Entries
    clusters: Entries
    users: Entries


def target(access: KubeAccess, environ: Mapping[str, str]) -> Target:
    """Return the context that is meant.

    Raises KubernetesError if no file is there, one cannot be read, or has no such context; and for a passive access
    if its user has a program started or a file sent.
    """
    files = _files(access, environ)
    merged = _merged([read(file) for file in files])
    where = ", ".join(map(str, files))
    name = access.context or merged.current
    if not name:
        raise KubernetesError(f"{where} has no current context", HINT, lasting=True)
    if name not in merged.contexts:
        known = ", ".join(sorted(merged.contexts)[:SHOWN]) or "none"
        raise KubernetesError(f"{where} has no context {name!r}", f"it has: {known}", lasting=True)
    context = merged.contexts[name]
    cluster = _entry(merged.clusters, context.get("cluster"), "cluster", name, where)
    user = _entry(merged.users, context["user"], "user", name, where) if context.get("user") else {}
    if access.passive:
        _refuse_active(user, where)
    return Target(name, cluster, user)


def pinned(access: KubeAccess, environ: Mapping[str, str], *, alone: bool = False) -> KubeAccess:
    """Return the same context by its file and name, for a program that runs without this environment.

    Raises KubernetesError as `target` does, and if several files are meant; with `alone` also for a context that needs
    another file or program, which an account of its own may not have.
    """
    files, found = _files(access, environ), target(access, environ)
    if len(files) > 1:
        text = f"the kubeconfig is several files: {', '.join(map(str, files))}"
        raise KubernetesError(text, "name one with --kubeconfig", lasting=True)
    needs = [key for key in (*PATHS, "exec") if alone and (found.cluster.get(key) or found.user.get(key))]
    if needs:
        text = f"the context {found.context!r} of {files[0]} needs what the service may not read: {', '.join(needs)}"
        raise KubernetesError(text, FLATTEN, lasting=True)
    return KubeAccess(str(files[0].absolute()), found.context)


def _files(access: KubeAccess, environ: Mapping[str, str]) -> Sequence[Path]:
    """Return the files that are there; a file that KUBECONFIG names need not be."""
    if access.kubeconfig:
        return [Path(access.kubeconfig)]
    listed = [Path(one) for one in environ.get("KUBECONFIG", "").split(os.pathsep) if one]
    listed = listed or [Path(environ.get("HOME") or "/") / ".kube" / "config"]
    if there := [file for file in listed if os.path.lexists(file)]:
        return there
    text = f"there is no kubeconfig {', '.join(map(str, listed))}"
    raise KubernetesError(text, "name one with --kubeconfig or in KUBECONFIG", lasting=True)


def read(file: Path) -> Mapping[str, Any]:
    """Return a kubeconfig as it is, with absolute paths. Raises KubernetesError if it cannot be read."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES >> 20} MiB")
        found = yaml.safe_load(text)
        return _absolute(found, file.absolute().parent)
    except OSError as error:
        raise _unreadable(file, error.strerror or str(error)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _unreadable(file, " ".join(str(error).split())) from error


def _unreadable(file: Path, why: str) -> KubernetesError:
    return KubernetesError(f"the kubeconfig {file} cannot be read: {why}", HINT, lasting=True)


def _absolute(found: object, folder: Path) -> Mapping[str, Any]:
    """Return a kubeconfig whose paths are absolute. Raises ValueError for what is none."""
    if not isinstance(found, dict):
        raise ValueError("it is not a mapping")
    return {
        "current-context": str(found.get("current-context") or ""),
        "contexts": _entries(found, "contexts", "context", folder),
        "clusters": _entries(found, "clusters", "cluster", folder),
        "users": _entries(found, "users", "user", folder),
    }


def _entries(found: Mapping[str, Any], plural: str, singular: str, folder: Path) -> Entries:
    listed = found.get(plural) or []
    if not isinstance(listed, list):
        raise ValueError(f"{plural} is not a list")
    entries: Entries = {}
    for one in listed:
        if not (isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get(singular), dict)):
            raise ValueError(f"an entry of {plural} has no name or no {singular}")
        entries.setdefault(one["name"], _with_paths(one[singular], folder))
    return entries


def _with_paths(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    paths: dict[str, Any] = {
        key: str(folder / entry[key]) for key in PATHS if isinstance(entry.get(key), str) and entry[key]
    }
    plugin = entry.get("exec")
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):  # else it is found by PATH
        paths["exec"] = plugin | {"command": str(folder / plugin["command"])}
    return {**entry, **paths}


def _merged(files: Sequence[Mapping[str, Any]]) -> _Merged:
    """Return several kubeconfigs as one: what comes first counts."""
    contexts, clusters, users = (
        {name: entry for one in reversed(files) for name, entry in one[kind].items()}
        for kind in ("contexts", "clusters", "users")
    )
    current = (one["current-context"] for one in files)
    return _Merged(next(filter(None, current), ""), contexts, clusters, users)


def _entry(entries: Entries, name: object, kind: str, context: str, where: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in entries:
        raise KubernetesError(f"{where}: the context {context!r} names no {kind} that is there", HINT, lasting=True)
    return entries[name]


def _refuse_active(user: Mapping[str, Any], where: str) -> None:
    """Raise KubernetesError for a user that has a program started, or the content of any file sent to the server."""
    does = "starts a program" if user.get("exec") else "sends a file" if user.get("tokenFile") else ""
    if does:
        text = f"the kubeconfig {where} is not trusted: its user {does}, and a configuration that nobody named names it"
        raise KubernetesError(text, "if you trust it, name it with --kubeconfig", lasting=True)
