"""Each refusal that bwrap is known to give, and what its words mean for the host's owner."""

from __future__ import annotations

import pytest

from pytest_bottle.backends.bubblewrap.opening import explain_refusal

SEEN = {
    "no-userns": "bwrap: No permissions to create new namespace, likely because the kernel does "
    "not allow non-privileged user namespaces. See <https://deb.li/bubblewrap>.",
    "no-userns-root": "bwrap: No permissions to creating new namespace, likely because the kernel "
    "does not allow non-privileged user namespaces.",
    "failed": "bwrap: Creating new namespace failed: Operation not permitted",
    "exceeded": "bwrap: Creating new namespace failed: nesting depth or "
    "/proc/sys/user/max_*_namespaces exceeded (ENOSPC)",
    "lonely-root": "root cannot become another user here: [Errno 1] Operation not permitted",
    "apparmor": "bwrap: setting up uid map: Permission denied",
    "proc": "bwrap: Can't mount proc on /newroot/proc: Operation not permitted",
    "pivot": "bwrap: pivot_root: Operation not permitted",
}


@pytest.mark.parametrize(
    ("words", "meaning", "fix"),
    [
        ("no-userns", "forbids user namespaces", "kernel.unprivileged_userns_clone=1"),
        ("no-userns-root", "forbids user namespaces", "seccomp=unconfined"),
        ("failed", "forbids user namespaces", "user.max_user_namespaces"),
        ("exceeded", "forbids user namespaces", "user.max_user_namespaces"),
        ("lonely-root", "has no other user", "map more uids"),
        ("apparmor", "AppArmor restricts", "apparmor_restrict_unprivileged_userns=0"),
        ("proc", "masks /proc", "systempaths=unconfined"),
        ("pivot", "may not change its root", "seccomp=unconfined"),
    ],
)
def test_a_known_refusal_has_its_meaning_and_a_fix(words, meaning, fix):
    detail, remedy = explain_refusal(SEEN[words])
    assert meaning in detail
    assert SEEN[words] in detail
    assert fix in remedy


def test_an_unknown_refusal_keeps_its_words():
    detail, remedy = explain_refusal("bwrap: the moon is full")
    assert detail == "bwrap: the moon is full"
    assert "docker" in remedy
