"""What goes on in a simulated organisation besides its requirements, and belongs to none of them."""

from collections.abc import Iterator

from otel_pipeline.testing.agents import Job, Usage, claude_code, claude_prompt, openclaw
from otel_pipeline.testing.outbox import Sender
from otel_pipeline.testing.pipelines import Build, Deployment, deploy, github_build, jenkins_build
from otel_pipeline.testing.truth import Work
from otel_pipeline.testing.wire import Attribute
from otel_pipeline.testing.world import HOUR, MINUTE, Project, World

__all__ = ["noise"]


def noise(world: World, project: Project) -> Iterator[int]:
    """Day after day: a dependency bot on main, a nightly build, chores of agents, health checks and complaints."""
    out, rng = world.out, world.rng
    day = 24 * HOUR
    while True:
        base = world.now
        repository = rng.choice(project.repositories)
        bump = rng.randbytes(20).hex()
        image = f"sha256:{rng.randbytes(32).hex()}"
        make = jenkins_build if project.pipeline == "jenkins" else github_build
        for number, branch in enumerate((f"renovate/lodash-{rng.randrange(99)}", "main")):
            start = base + number * HOUR + world.between(1, 9)
            built = Build(
                project.name,
                repository,
                branch,
                bump,
                world.number(),
                Work(),
                start,
                start + world.between(4, 9),
                "",
                image,
            )
            make(out, built)
        if rng.random() < 0.5:
            start = base + 3 * HOUR
            service, name = repository.partition("/")[2], f"bump-{world.number()}"
            times = start, start + 4 * MINUTE
            deploy(out, rng, Deployment(project.name, service, image, name, "production", Work(), *times))
        _chores(world, project, base)
        _health(world, project, base)
        if project.pipeline == "jenkins":
            night = base + 2 * HOUR
            jenkins_build(
                out, Build(project.name, repository, "main", "", world.number(), Work(), night, night + 9 * MINUTE)
            )
        yield base + day


def _chores(world: World, project: Project, base: int) -> None:
    """An agent that cleans up, in a session of its own."""
    start = base + 5 * HOUR + world.between(0, 50)
    env = {"project": project.name, "stage": "coding"}
    sender = claude_code(world.rng, env, f"chore-{world.rng.randbytes(6).hex()}")
    job = Job(world.out, world.rng, Work((), "coding"), Usage(), start, start + 9 * MINUTE, world.turns(3, 8))
    claude_prompt(job, sender, world.out.new_trace(), 1)


def _health(world: World, project: Project, base: int) -> None:
    """What is always there: probes of a service, a page of the controller, an OpenClaw that is short of memory."""
    service = Sender({"service.name": f"{project.name}-api", "project": project.name}, scope=("http", "1"))
    claw = openclaw({"project": project.name})
    for number in range(6):
        at = base + number * 4 * HOUR + world.between(0, 30)
        probe: dict[str, Attribute] = {
            "http.request.method": "GET",
            "http.route": "/healthz",
            "http.response.status_code": 200,
        }
        world.out.span(service, Work(), world.out.new_trace(), "GET /healthz", at, at + 3_000_000, probe, kind=2)
        world.out.span(claw, Work(), world.out.new_trace(), "openclaw.memory.pressure", at, at, {}, status=2)
