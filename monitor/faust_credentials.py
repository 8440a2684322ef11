"""How the Faust app shows itself to Kafka: options of librdkafka in the terms of Faust's client."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import faust
from faust.auth import OAuthCredentials

from monitor.oauth_tokens import TokenSource

Options = Mapping[str, Any]

PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
# Of TLS, what Python's own has no counterpart for, or none that is as strict.
WITHOUT_COUNTERPART = (
    "ssl.keystore.location", "ssl.crl.location", "ssl.engine.location", "ssl.providers", "ssl.curves.list",
    "ssl.sigalgs.list",
)  # fmt: skip


def unsupported(options: Options) -> str | None:
    """Why the Faust app cannot reach a Kafka that librdkafka reaches with these options; None if it can.

    Examples
    --------
    >>> unsupported({"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"})
    >>> unsupported({"security.protocol": "sasl_ssl", "sasl.mechanism": "GSSAPI"})
    'the Faust app does not speak GSSAPI'
    """
    protocol = _protocol(options)
    if protocol not in PROTOCOLS:
        return f"the Faust app does not speak {protocol}"
    foreign = [name for name in WITHOUT_COUNTERPART if name in options and protocol.endswith("ssl")]
    if foreign:
        return f"the Faust app does not know {foreign[0]}"
    return _unsupported_login(options) if protocol.startswith("sasl") else None


def _unsupported_login(options: Options) -> str | None:
    mechanism = _mechanism(options)
    if mechanism in PASSWORD_MECHANISMS:
        return None
    if mechanism != "OAUTHBEARER":
        return f"the Faust app does not speak {mechanism}"
    method = str(options.get("sasl.oauthbearer.method", "default")).lower()
    if method != "oidc":
        return f"the Faust app knows OAUTHBEARER with the method oidc alone, not {method}"
    grant = str(options.get("sasl.oauthbearer.grant.type", "client_credentials"))
    return None if grant == "client_credentials" else f"the Faust app does not know the grant {grant}"


def credentials(options: Options) -> Any:
    """Credentials of Faust for options of librdkafka; None where Kafka asks for none.

    Parameters
    ----------
    options : mapping
        As `Kafka.client_options` gives them, and not `unsupported`. They hold secrets.

    Raises
    ------
    OSError
        If a file of certificates cannot be read.
    ssl.SSLError
        If what a file holds are no certificates, or its key does not belong to them.
    """
    protocol = _protocol(options)
    if protocol == "plaintext":
        return None
    context = tls_context(options) if protocol.endswith("ssl") else None
    if protocol == "ssl":
        return faust.SSLCredentials(context)
    if _mechanism(options) == "OAUTHBEARER":
        return OAuthCredentials(oauth_cb=TokenSource(options), ssl_context=context)
    return faust.SASLCredentials(
        username=str(options.get("sasl.username", "")),
        password=str(options.get("sasl.password", "")),
        ssl_context=context,
        mechanism=_mechanism(options),
    )


def tls_context(options: Options) -> ssl.SSLContext:
    """Whom to trust and which certificate to show, as the options say."""
    location = options.get("ssl.ca.location")
    authorities = None if location in (None, "probe") else Path(str(location))
    is_folder = authorities is not None and authorities.is_dir()
    context = ssl.create_default_context(
        cafile=None if is_folder or authorities is None else str(authorities),
        capath=str(authorities) if is_folder else None,
        cadata=options.get("ssl.ca.pem"),
    )
    # In this order: without a check of the name before there is none of the certificate, Python refuses.
    if str(options.get("ssl.endpoint.identification.algorithm", "https")).lower() == "none":
        context.check_hostname = False
    if str(options.get("enable.ssl.certificate.verification", True)).lower() == "false":
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if "ssl.cipher.suites" in options:
        context.set_ciphers(str(options["ssl.cipher.suites"]))
    _show_certificate(context, options)
    return context


def _show_certificate(context: ssl.SSLContext, options: Options) -> None:
    """Load the certificate by which Kafka knows the client, if there is one."""
    password = options.get("ssl.key.password")
    # Python reads certificates and keys from files alone; this folder is closed to others.
    with tempfile.TemporaryDirectory(prefix="driftline-") as folder:
        certificate = _file_of(options, "ssl.certificate", Path(folder))
        key = _file_of(options, "ssl.key", Path(folder))
        if certificate is not None:
            # Without a password Python would ask for it on the terminal.
            context.load_cert_chain(certificate, key, lambda: "" if password is None else str(password))


def _file_of(options: Options, name: str, folder: Path) -> Path | None:
    """File with what an option holds or points to; None without such an option."""
    if f"{name}.pem" in options:
        made = folder / name
        made.touch(mode=0o600)
        made.write_text(str(options[f"{name}.pem"]))
        return made
    location = options.get(f"{name}.location")
    return None if location is None else Path(str(location))


def _protocol(options: Options) -> str:
    return str(options.get("security.protocol", "plaintext")).lower()


def _mechanism(options: Options) -> str:
    """The mechanism under either of its names, and librdkafka's default."""
    return str(options.get("sasl.mechanism", options.get("sasl.mechanisms", "GSSAPI"))).upper()
