"""Provisions the certificate of the authority that signs for the bottle's proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Final

from pytest_bottle.guest_door import ca_bundle_path
from pytest_bottle.guest_door import ca_path
from pytest_bottle.provision.steps import PutFile
from pytest_bottle.provision.steps import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_bottle.plan import BottlePlan
    from pytest_bottle.provision.steps import GuestPaths
    from pytest_bottle.provision.steps import Step

TRUST_DIRECTORY: Final = "/usr/local/share/ca-certificates"
"""Where Debian and Alpine look for certificates of the host's own."""

# Without a store of its own the image trusts nothing, and then this authority alone.
_BUNDLE: Final = """
umask 022
for store in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem
do
    if [ -r "$store" ]; then cat "$store"; echo; break; fi
done >"$2"
cat "$1" >>"$2"
"""

TRUST_SCRIPT: Final = f"""
command -v update-ca-certificates >/dev/null 2>&1 || exit 0
[ "$(id -u)" = 0 ] || exit 0
mkdir -p {TRUST_DIRECTORY} && cp "$1" {TRUST_DIRECTORY}/pytest-bottle.crt || exit 0
update-ca-certificates >/dev/null
"""
"""Adds a certificate to the image's store, where there is one and this is root."""


def provision_ca(plan: BottlePlan, guest: GuestPaths) -> Sequence[Step]:
    """Return the steps that make the guest trust its proxy; none where it has no proxy."""
    if plan.ca_file is None:
        return ()
    own, bundle = ca_path(guest.home), ca_bundle_path(guest.home)
    return (
        PutFile(path=own, source=plan.ca_file, mode=0o644),
        Run(argv=("/bin/sh", "-c", _BUNDLE, "sh", own, bundle)),
        Run(argv=("/bin/sh", "-c", TRUST_SCRIPT, "sh", own), required=False),
    )
