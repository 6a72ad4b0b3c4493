"""This machine's pip settings, handed to builds as secrets: used by them, never kept in an image.

Companies set an index mirror and an own certificate authority through PIP_* variables or pip.conf.
A Dockerfile's pip step mounts both secrets; where there are none, pip uses its defaults.
"""

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

_CARRIED = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries")
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
CONFIG_ID = "pip.conf"
CERTIFICATE_ID = "ca.crt"


def _pip_files(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME", "/root"))
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf", home / ".config/pip/pip.conf"]
    if environment.get("PIP_CONFIG_FILE"):
        files.append(Path(environment["PIP_CONFIG_FILE"]))
    return files


def settings(
    environment: Mapping[str, str] = os.environ, pip_files: list[Path] | None = None
) -> dict[str, str]:
    """pip's global options that matter inside a build; PIP_* variables win over files."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read(_pip_files(environment) if pip_files is None else pip_files)
    found = {}
    for option in (*_CARRIED, "cert"):
        value = environment.get("PIP_" + option.upper().replace("-", "_"))
        if value is None:
            value = parser.get("global", option, fallback=None)
        if value:
            found[option] = value
    # pip itself does not read the other two, but they say that the machine needs a bundle.
    for variable in _CERTIFICATES:
        if "cert" not in found and environment.get(variable):
            found["cert"] = environment[variable]
    return found


def write_secrets(folder: Path, found: Mapping[str, str]) -> dict[str, Path]:
    """Secret id → file, written below `folder` where needed."""
    options = {option: value for option, value in found.items() if option != "cert"}
    secrets: dict[str, Path] = {}
    certificate = Path(found["cert"]) if "cert" in found else None
    if certificate and certificate.is_file():
        options["cert"] = f"/run/secrets/{CERTIFICATE_ID}"
        secrets[CERTIFICATE_ID] = certificate
    if options:
        path = folder / CONFIG_ID
        path.touch(mode=0o600)
        lines = (
            f"{option} = {' '.join(value.split())}\n" for option, value in sorted(options.items())
        )
        path.write_text("[global]\n" + "".join(lines))
        secrets[CONFIG_ID] = path
    return secrets
