"""Certificates of an authority that lives for one test run."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import program

# Far enough from the past for a clock that is set anew during the tests.
_DAYS = 30
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key, in files of their own and in one."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates that nobody trusts who was not told to.

    Parameters
    ----------
    folder
        Where everything is written.
    name
        Common name of the authority, and of its file.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, name
        self._openssl = program("openssl", "openssl")
        self.certificate = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._run(
            "req", "-x509", *_KEY, "-noenc", "-days", str(_DAYS), "-subj", f"/CN={name}",
            "-keyout", self._key, "-out", self.certificate,
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(
        self, name: str, *, host: str = "127.0.0.1", password: str | None = None, is_expired: bool = False
    ) -> Issued:
        """Make a certificate for servers and clients.

        Parameters
        ----------
        name
            Common name, by which servers know a client, and name of the files.
        host
            Address or name that the certificate is for.
        password
            Encrypts the key; default: it is not encrypted.
        is_expired
            Whether its time is over already.
        """
        made = Issued(*(self._folder / f"{self._name}-{name}.{kind}" for kind in ("crt", "key", "pem")))
        request, extensions = made.key.with_suffix(".csr"), made.key.with_suffix(".ext")
        hidden = ("-noenc",) if password is None else ("-passout", f"pass:{password}")
        self._run("req", "-new", *_KEY, *hidden, "-subj", f"/CN={name}", "-keyout", made.key, "-out", request)
        kind = "IP" if host.replace(".", "").isdigit() else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{host}\n")
        self._sign(request, extensions, made.certificate, is_expired=is_expired)
        made.both.write_text(made.key.read_text() + made.certificate.read_text())
        return made

    def _sign(self, request: Path, extensions: Path, signed: Path, *, is_expired: bool) -> None:
        serial = ("-set_serial", str(sum(request.name.encode()) + 1))
        signer = ("-CA", self.certificate, "-CAkey", self._key, *serial)
        days = "-1" if is_expired else str(_DAYS)
        self._run(
            "x509", "-req", "-in", request, *signer, "-days", days, "-extfile", extensions, "-out", signed
        )

    def _run(self, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._openssl, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            msg = f"openssl {arguments[0]}: {done.stderr}"
            raise RuntimeError(msg)
