"""One context of kubeconfigs that are read already: which cluster it means, and which user. The standard library alone.

Several files are merged as kubectl does: of two entries with one name the first counts, and a path is relative to the
folder of its own file (kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clockstep.errors import KubernetesError

SHOWN = 10
PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
HINT = "choose another with --kubeconfig or --context; kubectl config get-contexts lists them"
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
class Merged:
    """Several kubeconfigs as one."""

    current: str
    contexts: Entries
    clusters: Entries
    users: Entries


def absolute(found: object, folder: Path) -> Mapping[str, Any]:
    """Return a kubeconfig whose paths are absolute. Raises ValueError for what is none."""
    if not isinstance(found, dict):
        raise ValueError("it is not a mapping")
    return {
        "current-context": str(found.get("current-context") or ""),
        "contexts": _entries(found, "contexts", "context", folder),
        "clusters": _entries(found, "clusters", "cluster", folder),
        "users": _entries(found, "users", "user", folder),
    }


def merged(files: Sequence[Mapping[str, Any]]) -> Merged:
    """Return several kubeconfigs as one: what comes first counts."""
    contexts, clusters, users = (
        {name: entry for one in reversed(files) for name, entry in one[kind].items()}
        for kind in ("contexts", "clusters", "users")
    )
    current = (one["current-context"] for one in files)
    return Merged(next(filter(None, current), ""), contexts, clusters, users)


def chosen(found: Merged, name: str, where: str) -> Target:
    """Return the context of this name, or the current one. Raises KubernetesError if it is not there, or leads nowhere.

    `where` is the files that it comes from, for people.
    """
    name = name or found.current
    if not name:
        raise KubernetesError(f"{where} has no current context", HINT, lasting=True)
    if name not in found.contexts:
        known = ", ".join(sorted(found.contexts)[:SHOWN]) or "none"
        raise KubernetesError(f"{where} has no context {name!r}", f"it has: {known}", lasting=True)
    context = found.contexts[name]
    cluster = _entry(found.clusters, context.get("cluster"), "cluster", name, where)
    user = _entry(found.users, context["user"], "user", name, where) if context.get("user") else {}
    return Target(name, cluster, user)


def unreadable(file: Path, why: str) -> KubernetesError:
    """Return the error that a kubeconfig cannot be read."""
    return KubernetesError(f"the kubeconfig {file} cannot be read: {why}", HINT, lasting=True)


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


def _entry(entries: Entries, name: object, kind: str, context: str, where: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in entries:
        raise KubernetesError(f"{where}: the context {context!r} names no {kind} that is there", HINT, lasting=True)
    return entries[name]
