"""Which API server is meant and by which account: one context of the files that kubectl would read."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from clockstep.errors import KubernetesError
from clockstep.kubernetes.contexts import PATHS, Target, absolute, chosen, merged, unreadable
from clockstep.model import KubeAccess

MOST_BYTES = 4 << 20
FLATTEN = (
    "give it a kubeconfig with a token or certificates in it: kubectl config view --raw --flatten --minify; "
    "deploy/kubernetes has an account for it"
)


def target(access: KubeAccess, environ: Mapping[str, str]) -> Target:
    """Return the context that is meant.

    Raises KubernetesError if no file is there, one cannot be read, or has no such context; and for a passive access
    if its user has a program started or a file sent.
    """
    files = _files(access, environ)
    where = ", ".join(map(str, files))
    found = chosen(merged([read(file) for file in files]), access.context, where)
    if access.passive:
        _refuse_active(found.user, where)
    return found


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
        return absolute(yaml.safe_load(text), file.absolute().parent)
    except OSError as error:
        raise unreadable(file, error.strerror or str(error)) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise unreadable(file, " ".join(str(error).split())) from error


def _refuse_active(user: Mapping[str, Any], where: str) -> None:
    """Raise KubernetesError for a user that has a program started, or the content of any file sent to the server."""
    does = "starts a program" if user.get("exec") else "sends a file" if user.get("tokenFile") else ""
    if does:
        text = f"the kubeconfig {where} is not trusted: its user {does}, and a configuration that nobody named names it"
        raise KubernetesError(text, "if you trust it, name it with --kubeconfig", lasting=True)
