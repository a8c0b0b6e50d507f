"""A certificate authority of the mock's own, so that clients which insist on https can be tested."""

from __future__ import annotations

import datetime as dt
import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeAlias

from tn_contract.contract.errors import UsageError
from tn_contract.contract.files import write_whole

Flaw: TypeAlias = Literal["", "expired", "self-signed"]

_LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the server shows, and the file that makes clients believe it."""

    context: ssl.SSLContext
    ca_file: Path
    php_folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the usual TLS libraries trust the mock, and nobody else."""
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
        # PHP reads settings from this folder besides its own: an empty name stands for those.
        scanned = os.pathsep.join((os.environ.get("PHP_INI_SCAN_DIR", ""), str(self.php_folder)))
        return {**dict.fromkeys(names, str(self.ca_file)), "PHP_INI_SCAN_DIR": scanned}

    @property
    def php_options(self) -> str:
        """The same for PHP, as options."""
        return f"-d curl.cainfo={self.ca_file} -d openssl.cafile={self.ca_file}"


@contextmanager
def issue(hosts: Iterable[str], ca_file: Path | None = None, flaw: Flaw = "") -> Iterator[Certificates]:
    """Make a new authority and a server certificate for `hosts`, with a `flaw` for clients that are to notice it.

    The authority's certificate is written to `ca_file`, by default in a folder that is removed when the block ends.
    Its private key never leaves the memory. Raises `UsageError` when trustme is missing, a host is no name, or the
    file cannot be written.
    """
    try:
        import trustme
    except ImportError as error:
        raise UsageError("TLS needs the package trustme: pip install 'tn-contract[tls]'") from error
    authority = trustme.CA(organization_name="tn-contract mock", organization_unit_name="for tests only")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name in (wanted := tuple(dict.fromkeys(hosts))):
        if not name or set(name) & set("/@? "):
            raise UsageError(f"{name!r} is no host name: write it like tradernet.com, without https:// and path")
    try:
        certificate = authority.issue_cert(*wanted, not_after=_LONG_AGO if flaw == "expired" else None)
    except (ValueError, UnicodeError) as error:
        raise UsageError(f"no certificate can be made for {', '.join(wanted)} ({error})") from error
    with TemporaryDirectory(prefix="tn-contract-") as folder:
        if flaw == "self-signed":
            own = Path(folder) / "own.pem"
            own.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
            context.load_cert_chain(own)
            own.unlink()
        else:
            certificate.configure_cert(context)
        path = (ca_file or Path(folder) / "ca.pem").absolute()
        write_whole(path, authority.cert_pem.bytes())
        settings = Path(folder) / "tn-contract.ini"
        settings.write_text(f'curl.cainfo="{path}"\nopenssl.cafile="{path}"\n')
        yield Certificates(context, path, Path(folder))
