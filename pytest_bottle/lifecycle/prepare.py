"""Turns a spec into a plan: all names, paths and limits of one bottle, checked on the host.

The marker goes before the manifest, the manifest before the defaults. Whatever is wrong is said
here, with file and key or with the marker, before anything has started.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NoReturn

from pytest_bottle.errors import MarkerError
from pytest_bottle.guest_door import MCP_URL
from pytest_bottle.guest_door import PASS_VARIABLE
from pytest_bottle.lifecycle.place import in_manifest
from pytest_bottle.lifecycle.place import in_marker
from pytest_bottle.lifecycle.prepare_door import prepare_door
from pytest_bottle.lifecycle.secrets import refuse_secrets
from pytest_bottle.lifecycle.sources import find_file
from pytest_bottle.lifecycle.sources import find_image
from pytest_bottle.lifecycle.sources import find_skills
from pytest_bottle.lifecycle.sources import read_prompt
from pytest_bottle.lifecycle.sources import resolve
from pytest_bottle.nearest import nearest
from pytest_bottle.plan import AgentPlan
from pytest_bottle.plan import BottlePlan
from pytest_bottle.plan import FilePlan
from pytest_bottle.plan import ImagePlan
from pytest_bottle.plan import Limits
from pytest_bottle.plan import McpServerPlan
from pytest_bottle.schema import BottleTable

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping

    from pytest_bottle.lifecycle.place import Place
    from pytest_bottle.lifecycle.spec import Spec
    from pytest_bottle.manifest import Manifest
    from pytest_bottle.schema import AgentTable

DEFAULT_BOTTLE = "default"
"""The manifest's bottle for whoever names none."""

DEFAULT_WORKDIR = "/workspace"
DEFAULT_PIDS = 512
DEFAULT_MEMORY = 2 * 1024**3
DEFAULT_DISK = 1024**3

MCP_MARGIN = 60.0
"""Seconds that an agent waits for its supervisor beyond the supervisor's own timeout."""


def requested_backend(spec: Spec, manifest: Manifest) -> str | None:
    """Return the backend that the marker names, else the one that the manifest's bottle names.

    Raises:
        MarkerError: the agent or the bottle is not in the manifest.
    """
    if spec.backend is not None:
        return spec.backend
    _, table = _bottle(spec, manifest, _agent(spec, manifest))
    return table.backend


def names_image(spec: Spec, manifest: Manifest) -> bool:
    """Tell whether the marker, or the manifest's bottle, says which image a bottle starts from.

    Raises:
        MarkerError: the agent or the bottle is not in the manifest.
    """
    return spec.image is not None or (
        _bottle(spec, manifest, _agent(spec, manifest))[1].image is not None
    )


def refuse_network(plan: BottlePlan, spec: Spec, manifest: Manifest) -> NoReturn:
    """Refuse a plan that may reach more than its backend can hold it to.

    Raises:
        ManifestError, MarkerError: whichever asks for it.
    """
    if spec.network is None:
        name, _ = _bottle(spec, manifest, _agent(spec, manifest))
        place = in_manifest(manifest, "bottles", name, "egress", "network")
    else:
        place = in_marker(spec, "network")
    problem = f"the backend {plan.backend!r} cannot enforce it, and gives no network."
    remedy = 'Use backend "smolmachines", or `egress.allow` for what HTTP(S) reaches.'
    raise place.error(problem, remedy=remedy)


def remote_place(spec: Spec, manifest: Manifest, remote: str) -> Place:
    """Return where the URL of a bottle's git remote was written."""
    name, _ = _bottle(spec, manifest, _agent(spec, manifest))
    return in_manifest(manifest, "bottles", name, "git", "remotes", remote, "url")


def prepare(
    spec: Spec,
    manifest: Manifest,
    *,
    name: str,
    run_id: str,
    worker: str,
    state_dir: Path,
    backend: str,
    default_timeout: float,
    agent_kinds: Mapping[str, str],
    shared: bool = False,
    skill_home: Path | None = None,
    base: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> BottlePlan:
    """Return the plan for one bottle; nothing is started or written.

    Args:
        spec: What the test asks for.
        manifest: Where its agents and bottles are.
        name: The bottle's name, unique on this host.
        run_id: The run that it belongs to.
        worker: The worker that it belongs to.
        state_dir: Its directory on the host.
        backend: What will launch it; see `requested_backend`.
        default_timeout: Seconds for a command where neither spec nor manifest says.
        agent_kinds: The kinds of agents that there are, each with the directory of its skills,
            relative to the guest's home.
        shared: Whether several processes attach to it.
        skill_home: Where skills are that do not stand beside the manifest; else
            `~/.claude/skills`.
        base: What the spec's relative host paths are below; else the manifest's directory.
        environ: Where the values of secrets and credentials are; else this process's environment.

    Raises:
        ManifestError: something that the manifest names is wrong or missing.
        MarkerError: something that the spec names is wrong or missing.
    """
    environ = os.environ if environ is None else environ
    agent = _agent(spec, manifest)
    bottle_name, table = _bottle(spec, manifest, agent)
    base = base or manifest.directory
    skill_home = skill_home or Path.home() / ".claude" / "skills"
    plan = BottlePlan(
        name=name,
        run_id=run_id,
        worker=worker,
        backend=backend,
        state_dir=state_dir,
        image=_image(spec, manifest, bottle_name, table, base),
        workdir=spec.workdir or table.workdir or DEFAULT_WORKDIR,
        user=spec.user or table.user,
        env=tuple(sorted({**table.env, **dict(spec.env)}.items())),
        secrets=tuple(sorted({*table.secrets, *spec.secrets})),
        limits=Limits(
            cpus=spec.cpus or table.cpus,
            memory=spec.memory or table.memory or DEFAULT_MEMORY,
            pids=spec.pids or table.pids or DEFAULT_PIDS,
            disk=spec.disk or table.disk or DEFAULT_DISK,
        ),
        timeout=spec.timeout or table.timeout or default_timeout,
        budget=spec.budget or table.budget,
        golden=table.golden if spec.golden is None else spec.golden,
        network=tuple(sorted({*(_network(table) if spec.network is None else spec.network)})),
        door=prepare_door(
            spec, manifest, bottle=bottle_name, table=table, shared=shared, environ=environ
        ),
        files=_files(spec, manifest, bottle_name, table, base),
        agent=agent
        and _agent_plan(
            spec,
            manifest,
            agent,
            agent_kinds,
            skill_home,
            mcp_servers=_mcp_servers(table),
        ),
        shared=shared,
    )
    refuse_secrets(plan, spec=spec, manifest=manifest, bottle=bottle_name, environ=environ)
    return plan


def write_prompt_file(plan: BottlePlan) -> None:
    """Write the agent's prompt, also an empty one, to `plan.prompt_file` with mode 0600.

    Raises:
        FileExistsError: there is something already, perhaps somebody else's link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(plan.prompt_file, flags, 0o600), "w", encoding="utf-8") as file:  # noqa: PTH123 -- Path.open takes no descriptor
        os.fchmod(file.fileno(), 0o600)
        file.write(plan.agent.prompt if plan.agent else "")


def _agent(spec: Spec, manifest: Manifest) -> tuple[str, AgentTable] | None:
    if spec.agent is not None:
        if spec.agent in manifest.agents:
            return spec.agent, manifest.agents[spec.agent]
        raise _unknown(spec, manifest, "agent", spec.agent, manifest.agents)
    for argument in ("prompt", "skills", "model", "args"):
        if getattr(spec, argument) is not None:
            problem = f"{argument}= needs agent=, the agent that it is for."
            remedy = nearest("", manifest.agents) or "Add [agents.<name>] to bottle.toml."
            raise MarkerError(problem, node=spec.node, remedy=remedy)
    return None


def _bottle(
    spec: Spec, manifest: Manifest, agent: tuple[str, AgentTable] | None
) -> tuple[str, BottleTable]:
    if spec.bottle is not None and spec.bottle not in manifest.bottles:
        raise _unknown(spec, manifest, "bottle", spec.bottle, manifest.bottles)
    name = spec.bottle or (agent[1].bottle if agent else None) or DEFAULT_BOTTLE
    return name, manifest.bottles.get(name) or BottleTable()


def _network(table: BottleTable) -> tuple[str, ...]:
    return table.egress.network if table.egress else ()


def _mcp_servers(table: BottleTable) -> tuple[McpServerPlan, ...]:
    if table.supervise is None:
        return ()
    return (
        McpServerPlan(
            name="supervise",
            url=MCP_URL,
            bearer_variable=PASS_VARIABLE,
            timeout=table.supervise.timeout + MCP_MARGIN,
        ),
    )


def _unknown(
    spec: Spec, manifest: Manifest, what: str, name: str, known: Collection[str]
) -> MarkerError:
    file = manifest.path
    where = f"in {file}" if file else "because there is no manifest"
    remedy = nearest(name, known) or f"Add [{what}s.{name}] to {file or 'a bottle.toml'}."
    return MarkerError(f"there is no {what} {name!r} {where}.", node=spec.node, remedy=remedy)


def _image(
    spec: Spec, manifest: Manifest, bottle: str, table: BottleTable, base: Path
) -> ImagePlan | None:
    if spec.image is not None:
        return find_image(spec.image, in_marker(spec, "image"), base)
    if table.image is None:
        return None
    image = ImagePlan(
        reference=table.image.reference,
        dockerfile=Path(table.image.dockerfile) if table.image.dockerfile else None,
        build_args=tuple(table.image.args.items()),
    )
    place = in_manifest(manifest, "bottles", bottle, "image")
    return find_image(image, place, manifest.directory)


def _files(
    spec: Spec, manifest: Manifest, bottle: str, table: BottleTable, base: Path
) -> tuple[FilePlan, ...]:
    files: dict[str, FilePlan] = {}
    for guest, entry in table.files.items():
        place = in_manifest(manifest, "bottles", bottle, "files", guest)
        source = Path(entry.source) if entry.source is not None else None
        file = FilePlan(guest=guest, source=source, text=entry.text, mode=entry.mode)
        files[guest] = find_file(file, place, manifest.directory)
    for file in spec.files:
        files[file.guest] = find_file(file, in_marker(spec, "files", file.guest), base)
    return tuple(files[guest] for guest in sorted(files))


def _agent_plan(
    spec: Spec,
    manifest: Manifest,
    agent: tuple[str, AgentTable],
    kinds: Mapping[str, str],
    skill_home: Path,
    *,
    mcp_servers: tuple[McpServerPlan, ...],
) -> AgentPlan:
    name, table = agent
    if table.kind not in kinds:
        place = in_manifest(manifest, "agents", name, "kind")
        problem = f"there is no agent kind {table.kind!r}."
        raise place.error(problem, remedy=nearest(table.kind, kinds))
    if spec.skills is not None:
        skills, place = spec.skills, in_marker(spec, "skills")
    else:
        skills, place = table.skills, in_manifest(manifest, "agents", name, "skills")
    homes = (resolve(Path("skills"), manifest.directory), skill_home)
    return AgentPlan(
        name=name,
        kind=table.kind,
        prompt=_prompt(spec, manifest, name, table),
        skills=tuple(find_skills(skills, place, homes)),
        skills_dir=kinds[table.kind],
        model=spec.model or table.model,
        args=table.args if spec.args is None else spec.args,
        env=tuple(sorted(table.env.items())),
        mcp_servers=mcp_servers,
    )


def _prompt(spec: Spec, manifest: Manifest, name: str, table: AgentTable) -> str:
    if spec.prompt is not None:
        return spec.prompt
    if table.prompt_file is None:
        return table.prompt or ""
    place = in_manifest(manifest, "agents", name, "prompt_file")
    return read_prompt(Path(table.prompt_file), place, manifest.directory)
