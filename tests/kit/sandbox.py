"""Runs programs as in a container, without an engine: another root folder, another account."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What programs need to know of the machine: names of hosts and accounts, certificates, where libraries are.
_OF_ETC = ("hosts", "resolv.conf", "nsswitch.conf", "passwd", "group", "ld.so.cache", "ssl", "host.conf")
_WITHIN_TMP = "/tmp/"  # noqa: S108 - a place inside the sandbox, which is mounted for it alone


@dataclass
class Sandbox:
    """A root folder made of the machine's programs and of what is put into it.

    Programs see the machine's ``/usr``, with the interpreter of this test run as ``/usr/local/bin/python``,
    both read-only, a ``/tmp`` of their own that is empty, and the files below `folder`. They share the
    network, so loopback is reached. All of it is gone with them, as the mounts are made in a name space of
    their own.

    Parameters
    ----------
    folder
        An empty folder that becomes the root.
    mounts
        What else is seen, read-only: path inside → path outside.

    Notes
    -----
    Who is not root gets the same by a user name space in which they are.
    """

    folder: Path
    mounts: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("usr", "dev", "proc", "tmp", "etc", "run", "var"):
            (self.folder / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.folder / name).symlink_to(f"usr/{name}")
        for name in _OF_ETC:
            path = Path("/etc") / name
            if path.is_dir():
                self.mounts[f"/etc/{name}"] = path
            elif path.exists():
                shutil.copy(path, self.folder / "etc" / name)
        self.mounts |= self._interpreter()

    def command(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        directory: str = "/",
        account: int | None = None,
    ) -> list[str]:
        """Build the command that runs a program in there.

        Parameters
        ----------
        arguments
            Program and arguments. The program is looked for in the ``PATH`` of `environment`.
        environment
            All variables that it sees.
        directory
            Where it starts.
        account
            Number of the user and group it runs as, without any privileges and with nothing but ``/tmp`` to
            write to. None: the owner of the folder, who may write below it.
        """
        entering = [*self._entering(account), *self._with(environment, directory), *arguments]
        steps = [*self._mounting(read_only=account is not None), f"exec {shlex.join(entering)}"]
        mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return ["unshare", *mapped, "--mount", "--propagation=private", "--", "sh", "-euc", "\n".join(steps)]

    def _entering(self, account: int | None) -> list[str]:
        """Command that goes into the folder and becomes the account there."""
        root, number = str(self.folder), str(account)
        if account is None:
            return ["chroot", root, "setpriv", "--pdeathsig=KILL"]
        if os.geteuid() != 0:
            # Whoever is in another root folder gets no user name space, so both come in one step.
            mapped = ["unshare", "--user", f"--map-user={number}", f"--map-group={number}", f"--root={root}"]
            return [*mapped, "--", "setpriv", "--pdeathsig=KILL", "--no-new-privs"]
        nobody = [f"--reuid={number}", f"--regid={number}", "--clear-groups"]
        nothing = ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
        return ["chroot", root, "setpriv", *nobody, *nothing, "--pdeathsig=KILL"]

    @staticmethod
    def _with(environment: Mapping[str, str], directory: str) -> list[str]:
        return [
            "env",
            "-i",
            f"--chdir={directory}",
            *(f"{name}={value}" for name, value in environment.items()),
        ]

    def _mounting(self, *, read_only: bool) -> list[str]:
        # Of what lies in another, the outer comes first.
        below = dict(sorted({"/usr": Path("/usr"), **self.mounts}.items()))
        for inside, outside in below.items():
            self._make_place(inside, outside)
        root = self._quoted("")
        steps = [
            f"mount --rbind {root} {root}",
            f"mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 tmpfs {self._quoted('tmp')}",
        ]
        for inside, outside in below.items():
            place = self._quoted(inside)
            if inside.startswith(
                _WITHIN_TMP
            ):  # a checkout that is there; its place is in what was just mounted
                make = "mkdir -p" if outside.is_dir() else "install -D /dev/null"
                steps.append(f"{make} {place}")
            steps += [
                f"mount --rbind {shlex.quote(str(outside))} {place}",
                f"mount -o remount,bind,ro {place}",
            ]
        steps += [f"mount --rbind /{name} {self._quoted(name)}" for name in ("dev", "proc")]
        if read_only:
            steps.append(f"mount -o remount,bind,ro {root}")
        return steps

    def _make_place(self, inside: str, outside: Path) -> None:
        place = self.folder / inside.lstrip("/")
        if inside.startswith(("/usr", _WITHIN_TMP)) or place.exists():
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if outside.is_dir():
            place.mkdir()
        else:
            place.touch()

    def _quoted(self, inside: str) -> str:
        return shlex.quote(str(self.folder / inside.lstrip("/")))

    def _interpreter(self) -> dict[str, Path]:
        """Make ``python`` this interpreter, which finds its libraries from where it was installed."""
        installed = Path(sys.base_prefix)
        if installed == Path("/usr/local"):
            return {}
        local = self.folder / "var" / "interpreter"
        (local / "bin").mkdir(parents=True)
        (local / "bin" / "python").symlink_to(installed / "bin" / f"python3.{sys.version_info.minor}")
        (local / "lib").symlink_to(installed / "lib")
        return {"/usr/local": local} | ({} if installed == Path("/usr") else {sys.base_prefix: installed})
