"""Why a sandbox does not open on a host, in words that its owner can act on.

The refusals were collected from bwrap itself on such hosts: containers with and without relaxed
security options, a kernel with user namespaces turned off, and Ubuntu's AppArmor restriction.
"""

from __future__ import annotations

from typing import Final

from pytest_bottle.backends.bubblewrap import staging

_OVERLAY_REFUSALS: Final = (staging.REFUSED, "overlay mount", f"source path {staging.PLACE}")

_NO_USER_NAMESPACES: Final = (
    "this kernel or container forbids user namespaces",
    "set the sysctls kernel.unprivileged_userns_clone=1 and user.max_user_namespaces>0; in a "
    "container, run it with --security-opt seccomp=unconfined --security-opt "
    "systempaths=unconfined",
)

_REFUSALS: Final = (
    ("No permissions to creat", *_NO_USER_NAMESPACES),
    ("Creating new namespace failed", *_NO_USER_NAMESPACES),
    (
        "cannot become another user",
        "this is the root of a user namespace that has no other user, as in a rootless container",
        "run the tests as an ordinary user, or map more uids into the container",
    ),
    (
        "setting up uid map",
        "AppArmor restricts unprivileged user namespaces on this host",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or install the "
        "distribution's bubblewrap with its AppArmor profile",
    ),
    (
        "mount proc",
        "this container masks /proc",
        "run the container with --security-opt systempaths=unconfined",
    ),
    (
        "pivot_root",
        "this container may not change its root",
        "run the container with --security-opt seccomp=unconfined --security-opt "
        "systempaths=unconfined",
    ),
)


def explain_refusal(words: str) -> tuple[str, str]:
    """Return what bwrap's words mean, and the fix; the words themselves where they are unknown."""
    for fragment, meaning, fix in _REFUSALS:
        if fragment in words:
            return f"{meaning} ({words})", fix
    return words, "run `pytest-bottle doctor`, or use the docker backend"


def refuses_overlays(words: str) -> bool:
    """Tell whether it may be the overlays alone that a host does not permit."""
    return any(fragment in words for fragment in _OVERLAY_REFUSALS)
