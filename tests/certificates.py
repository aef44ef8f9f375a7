"""A certificate authority of a test's own, and what it signs, as PEM files; by openssl's command."""

import shutil
import subprocess

AVAILABLE = shutil.which("openssl") is not None


def _openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)


def authority(folder, name="ca"):
    """The path of a new authority's certificate, its key beside it."""
    place = folder / f"{name}.pem"
    _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", folder / f"{name}.key", "-out", place)
    return place


def signed(ca, name, alternative="IP:127.0.0.1,DNS:localhost", password=None):
    """(certificate, key) for `name`, signed by an authority. `password`: the key is encrypted with it."""
    folder = ca.parent
    key, request, certificate, more = (folder / f"{name}.{end}" for end in ("key", "csr", "pem", "ext"))
    more.write_text(f"subjectAltName={alternative}\n")
    _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-CAcreateserial",
             "-days", "2", "-extfile", more, "-out", certificate)
    if password is not None:
        _openssl("pkcs8", "-topk8", "-in", key, "-out", folder / f"{name}.locked.key", "-passout", f"pass:{password}")
        key = folder / f"{name}.locked.key"
    return certificate, key
