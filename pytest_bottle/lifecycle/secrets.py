"""Keeps the values of declared secrets out of what a plan would put in a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_bottle.lifecycle.place import in_manifest
from pytest_bottle.lifecycle.place import in_marker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Mapping

    from pytest_bottle.lifecycle.place import Place
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.plan import BottlePlan

RECOGNISABLE = 8
"""Characters from which a secret is also looked for inside of longer values."""


def refuse_secrets(
    plan: BottlePlan, *, spec: Spec, manifest: Manifest, bottle: str, environ: Mapping[str, str]
) -> None:
    """Refuse a plan with a text that holds a declared secret's value; files are not read.

    Args:
        plan: The plan.
        spec: What the plan was made from.
        manifest: What the plan was made from.
        bottle: The bottle's name in the manifest.
        environ: Where the values are; a secret that is absent or empty cannot leak.

    Raises:
        ManifestError: the manifest holds it; the value is not repeated.
        MarkerError: the marker holds it; the value is not repeated.
    """
    secrets = {name: environ[name] for name in plan.secrets if environ.get(name)}
    for place, text in _texts(plan, spec, manifest, bottle):
        for name, secret in secrets.items():
            if text == secret or (len(secret) >= RECOGNISABLE and secret in text):
                problem = f"holds the value of the secret {name}, which must not enter a guest."
                raise place.error(problem, remedy="Put a placeholder there.")


def _texts(
    plan: BottlePlan, spec: Spec, manifest: Manifest, bottle: str
) -> Iterator[tuple[Place, str]]:
    """Yield all text that the plan would put in the guest, with the place where it was written."""
    overridden = dict(spec.env)
    for key, value in plan.env:
        written = in_manifest(manifest, "bottles", bottle, "env", key)
        yield in_marker(spec, "env", key) if key in overridden else written, value
    for file in plan.files:
        if file.text is not None:
            written = in_manifest(manifest, "bottles", bottle, "files", file.guest)
            yield in_marker(spec, "files", file.guest) if file in spec.files else written, file.text
    for key, value in plan.image.build_args if plan.image else ():
        written = in_manifest(manifest, "bottles", bottle, "image", "args", key)
        yield in_marker(spec, "image", key) if spec.image else written, value
    if plan.agent is None:
        return
    agent = plan.agent
    for key, value in agent.env:
        yield in_manifest(manifest, "agents", agent.name, "env", key), value
    for value in agent.args:
        written = in_manifest(manifest, "agents", agent.name, "args")
        yield written if spec.args is None else in_marker(spec, "args"), value
    from_file = manifest.agents[agent.name].prompt_file is not None
    key = "prompt_file" if from_file else "prompt"
    written = in_manifest(manifest, "agents", agent.name, key)
    yield written if spec.prompt is None else in_marker(spec, "prompt"), agent.prompt
