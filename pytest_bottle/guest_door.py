"""Where a guest finds its door: ports, variables and files, the same on all backends."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING
from typing import Final

if TYPE_CHECKING:
    from pytest_bottle.door_plan import DoorPlan

MODEL_PORT: Final = 4180
"""Where the model listens in a guest, on 127.0.0.1."""

PORTS: Final = {"egress": 4181, "git": 4182, "supervise": 4183}
"""Where the other parts do."""

USER: Final = "bottle"
"""The name by which a guest presents its pass."""

PASS_VARIABLE: Final = "BOTTLE_PASS"  # noqa: S105 - its name
"""The variable of every command that holds the bottle's pass: of use at its own door only."""

MCP_URL: Final = f"http://127.0.0.1:{PORTS['supervise']}/mcp"
GIT_URL: Final = f"http://127.0.0.1:{PORTS['git']}"
"""With `/<remote>` after it."""

_DIRECTORY: Final = ".bottle"
_LOCAL: Final = "localhost,127.0.0.1,::1"


def ca_path(home: str) -> str:
    """Return the guest's file with the certificate of its proxy's authority alone."""
    return posixpath.join(home, _DIRECTORY, "ca.pem")


def ca_bundle_path(home: str) -> str:
    """Return the guest's file with that certificate after those that its image trusts."""
    return posixpath.join(home, _DIRECTORY, "ca-bundle.pem")


def door_environment(door: DoorPlan, token: str, home: str) -> dict[str, str]:
    """Return the variables that every command in a guest needs to find its door.

    Args:
        door: What the bottle declares; without a part there are no variables.
        token: The bottle's pass.
        home: The guest user's home.
    """
    if not door.kinds:
        return {}
    env = {PASS_VARIABLE: token}
    if door.egress is not None:
        proxy = f"http://{USER}:{token}@127.0.0.1:{PORTS['egress']}"
        for name, value in (
            ("http_proxy", proxy),
            ("https_proxy", proxy),
            ("no_proxy", _LOCAL),
        ):
            env[name] = env[name.upper()] = value
        bundle = ca_bundle_path(home)
        env |= {
            "CURL_CA_BUNDLE": bundle,
            "GIT_SSL_CAINFO": bundle,
            "NODE_EXTRA_CA_CERTS": ca_path(home),
            "NODE_USE_ENV_PROXY": "1",
            "PIP_CERT": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
            "SSL_CERT_FILE": bundle,
            "npm_config_cafile": bundle,
        }
    return env
