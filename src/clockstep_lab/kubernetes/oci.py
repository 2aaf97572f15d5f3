"""A container image made by hand: busybox, and a place for the node's own /usr (OCI image-spec v1, as a tar archive).

Nodes of the lab reach no registry. The image is imported at boot, and serves as the pods' sandbox ("pause") too. A pod
that mounts the node's /usr has its python3, curl and openssl.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from clockstep_lab.run import run

IMAGE = "docker.io/lab/tools:1"
PATH = "PATH=/busybox:/usr/sbin:/usr/bin"
FOREVER = ["/busybox/sleep", "1000000d"]
LINKS = {"lib": "usr/lib", "lib64": "usr/lib64", "bin": "busybox"}
MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"


def write_image(busybox: Path, to: Path) -> None:
    """Write the image's archive, with this static busybox(1) and links for all that it can do. Raises LabError."""
    blobs: dict[str, bytes] = {}

    def blob(media: str, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    layer = blob(LAYER, _layer(busybox))
    process = {"Entrypoint": FOREVER, "Env": [PATH]}
    about = {"architecture": "amd64", "os": "linux", "config": process}
    config = blob(CONFIG, _json({**about, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}))
    manifest = blob(MANIFEST, _json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}))
    named = {**manifest, "annotations": {"io.containerd.image.name": IMAGE}}
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), **blobs}
    files["index.json"] = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]})
    to.write_bytes(_tar([(_entry(name), content) for name, content in files.items()]))


def _layer(busybox: Path) -> bytes:
    folders = [_entry(name, tarfile.DIRTYPE, 0o755) for name in ("busybox", "usr", "etc", "run", "var", "proc", "sys")]
    folders.append(_entry("tmp", tarfile.DIRTYPE, 0o1777))
    links = {**LINKS, **{f"busybox/{applet}": "busybox" for applet in run([busybox, "--list"]).decode().split()}}
    links.pop("busybox/busybox", None)
    entries = [*folders, *(_entry(name, tarfile.SYMTYPE, link=target) for name, target in links.items())]
    return _tar([*((entry, b"") for entry in entries), (_entry("busybox/busybox", mode=0o755), busybox.read_bytes())])


def _entry(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.linkname = kind, mode, link
    return entry


def _tar(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode()
