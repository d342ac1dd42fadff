"""Telemetry as pipelines and environments send it: Jenkins' plugin, the Collector's GitHub receiver, a webhook bridge
for pull requests, reports of deployments, and test runs by OpenTelemetry's conventions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from otel_pipeline.testing.outbox import SECOND, Outbox, Parent, Sender
from otel_pipeline.testing.truth import Work
from otel_pipeline.testing.wire import Attribute

__all__ = [
    "Build",
    "Deployment",
    "Suite",
    "change",
    "deploy",
    "github_build",
    "jenkins_build",
    "publish",
    "roll_back",
    "run_suite",
]

MINUTE = 60 * SECOND


@dataclass(frozen=True, slots=True)
class Build:
    """One build of a commit."""

    project: str
    repository: str
    """owner/name."""
    branch: str
    revision: str
    number: int
    work: Work
    start_ns: int
    end_ns: int
    failing: str = ""
    """Name of the stage that fails."""
    image: str = ""
    """Digest of what it publishes."""
    skew_ns: int = 0

    @property
    def url(self) -> str:
        """Address of the repository."""
        return f"https://github.com/{self.repository}"


STAGES = ("Build", "Unit tests", "Package")


def _staged(work: Work, stage: str) -> Work:
    return Work(work.owners, stage, work.is_told)


# --- Jenkins


def jenkins_build(out: Outbox, build: Build) -> None:
    """A multibranch job. The plugin tells repository and branch on the step that checks out, and the commit and the
    image where the Jenkinsfile says so (`withSpanAttributes`)."""
    name = build.repository.partition("/")[2]
    sender = Sender(
        resource={"service.name": "jenkins", "service.namespace": "jenkins", "service.version": "2.528.3"}
        | {"jenkins.url": "https://ci.acme.example/", "project": build.project},
        scope=("io.jenkins.opentelemetry", "3.1843"),
        skew_ns=build.skew_ns,
    )
    work = _staged(build.work, "ci_cd")
    status = 2 if build.failing else 1
    job = f"{name}/{build.branch.replace('/', '%2F')}"
    page = job.replace("%", "%25").replace("/", "/job/")
    result = "FAILURE" if build.failing else "SUCCESS"
    root: dict[str, Attribute] = {
        "type": "job",
        "ci.pipeline.id": job,
        "ci.pipeline.name": job.replace("/", " » "),
        "ci.pipeline.type": "multibranch",
        "ci.pipeline.multibranch.type": "branch",
        "ci.pipeline.run.number": build.number,
        "ci.pipeline.run.url": f"https://ci.acme.example/job/{page}/{build.number}/",
        "ci.pipeline.run.cause": ("GitHubPushCause:octocat",),
        "ci.pipeline.run.completed": True,
        "ci.pipeline.run.result": result,
    }
    if build.failing:
        root |= {"exception.type": "PIPELINE_FAILURE", "exception.message": "PIPELINE_FAILURE"}
    start, end = build.start_ns, build.end_ns
    top = out.span(
        sender, work, out.new_trace(), f"BUILD {job}", start, end, root, kind=2, status=status, message=result
    )
    out.span(sender, work, top, "Phase: Start", start, start + SECOND)
    phase = out.span(sender, work, top, "Phase: Run", start + SECOND, end - SECOND)
    agent = out.span(
        sender, work, phase, "Agent", start + SECOND, end - SECOND, _step("node", 5, result), status=status
    )
    waited = _step("node", 5, "SUCCESS")
    out.span(sender, work, agent, "Agent Allocation", start + SECOND, start + 20 * SECOND, waited, status=1)
    told: dict[str, Attribute] = {"git.repository": build.url, "git.branch": build.branch}
    told |= {"git.commit.sha": build.revision} if build.revision else {}
    git = _step("git", 9, "SUCCESS") | told
    out.span(
        sender,
        work,
        agent,
        f"git: github.com/{build.repository}",
        start + 20 * SECOND,
        start + 30 * SECOND,
        git,
        status=1,
    )
    length = (end - SECOND - start - 30 * SECOND) // len(STAGES)
    for number, stage in enumerate(STAGES):
        begin = start + 30 * SECOND + number * length
        _jenkins_stage(out, sender, build, agent, stage, (10 + number * 10, begin, begin + length))
        if stage == build.failing:
            break
    out.span(sender, work, top, "Phase: Finalise", end - SECOND, end)


def _step(kind: str, number: int, result: str) -> dict[str, Attribute]:
    name = "jenkins.pipeline.step."
    return {f"{name}type": kind, f"{name}id": str(number), f"{name}name": kind, f"{name}result": result}


def _jenkins_stage(
    out: Outbox, sender: Sender, build: Build, parent: Parent, stage: str, place: tuple[int, int, int]
) -> None:
    number, start, end = place
    work = _staged(build.work, "unit_test" if stage == "Unit tests" else "ci_cd")
    failed = stage == build.failing
    result, status = ("FAILURE", 2) if failed else ("SUCCESS", 1)
    said = "script returned exit code 1" if failed else ""
    own = out.span(
        sender, work, parent, f"Stage: {stage}", start, end, _step("stage", number, result), status=status, message=said
    )
    command = {"Build": "make", "Unit tests": "make test", "Package": "docker push"}[stage]
    shell = _step("sh", number + 1, result)
    if stage == "Package" and build.image:
        shell["oci.manifest.digest"] = build.image
    if stage == "Package" and build.revision:
        shell["git.commit.sha"] = build.revision
    out.span(
        sender, work, own, f"sh: {command}", start, end, shell,
        status=status, message=said, error_type="_OTHER" if failed else "",
    )  # fmt: skip


# --- GitHub Actions, by the Collector's githubreceiver


def github_build(out: Outbox, build: Build) -> None:
    """A workflow with three jobs. The receiver names the repository without its owner, and the commit."""
    run = 7_000_000 + build.number
    page = f"{build.url}/actions/runs/{run}"
    common: dict[str, Attribute] = {
        "service.name": build.repository.partition("/")[2],
        "project": build.project,
        "vcs.repository.name": build.repository.partition("/")[2],
        "vcs.vendor.name": "github",
        "vcs.ref.head": build.branch,
        "vcs.ref.head.type": "branch",
        "vcs.ref.head.revision": build.revision,
    }
    result, status = ("failure", 2) if build.failing else ("success", 1)
    told: dict[str, Attribute] = {
        "cicd.pipeline.name": "CI",
        "cicd.pipeline.run.sender.login": "octocat",
        "cicd.pipeline.run.id": str(run),
    }
    told |= {"cicd.pipeline.run.url.full": page, "cicd.pipeline.run.status": result}
    sender = Sender(resource=common | told, skew_ns=build.skew_ns)
    work = _staged(build.work, "ci_cd")
    times = build.start_ns, build.end_ns
    top = out.span(sender, work, out.new_trace(), "CI", *times, kind=2, status=status, message=result)
    length = (build.end_ns - build.start_ns) // len(STAGES)
    for number, stage in enumerate(STAGES):
        start = build.start_ns + number * length
        _github_job(
            out, build, common, top, stage.lower().replace(" ", "-"), (run * 10 + number, start, start + length)
        )
        if stage == build.failing:
            break


def _github_job(
    out: Outbox,
    build: Build,
    common: Mapping[str, Attribute],
    parent: Parent,
    name: str,
    place: tuple[int, int, int],
) -> None:
    number, start, end = place
    failed = name == build.failing.lower().replace(" ", "-")
    result, status = ("failure", 2) if failed else ("success", 1)
    work = _staged(build.work, "unit_test" if name == "unit-tests" else "ci_cd")
    told: dict[str, Attribute] = {"cicd.pipeline.name": name, "cicd.pipeline.task.run.sender.login": "octocat"}
    told |= {"cicd.pipeline.task.run.id": str(number), "cicd.pipeline.run.task.status": result}
    told["cicd.pipeline.task.run.url.full"] = f"{build.url}/actions/runs/{number // 10}/job/{number}"
    sender = Sender(resource={**common, **told}, skew_ns=build.skew_ns)
    own = out.span(sender, work, parent, name, start, end, status=status, message=result)
    queued = {"cicd.pipeline.run.queue.duration": 6e9}
    out.span(sender, work, own, f"queue-{name}", start, start + 6 * SECOND, queued)
    steps = ("Set up job", "Check out", "Run")
    length = (end - start - 6 * SECOND) // len(steps)
    for at, step in enumerate(steps):
        begin = start + 6 * SECOND + at * length
        broken = failed and step == "Run"
        ended = "failure" if broken else "success"
        values: dict[str, Attribute] = {"cicd.pipeline.task.name": step, "cicd.pipeline.run.task.status": ended}
        out.span(
            sender, work, own, step, begin, begin + length, values,
            status=2 if broken else 1, message=ended, error_type="_OTHER" if broken else "",
        )  # fmt: skip


def publish(out: Outbox, build: Build) -> None:
    """What a workflow says with `otel-cli` when it has pushed an image: the commit and the digest, and nothing else."""
    sender = Sender(resource={"service.name": "publish-image", "project": build.project}, scope=("otel-cli", "0.4.5"))
    values: dict[str, Attribute] = {"vcs.ref.head.revision": build.revision, "oci.manifest.digest": build.image}
    values |= {"sdlc.stage.name": "ci_cd"}
    work = _staged(build.work, "ci_cd")
    out.span(sender, work, out.new_trace(), "publish image", build.end_ns - 20 * SECOND, build.end_ns, values)


def change(out: Outbox, build: Build, title: str, number: int, state: str) -> None:
    """What a webhook bridge tells of a pull request: opened, pushed to, or merged as the commit of `build`."""
    sender = Sender(
        resource={"service.name": "github-webhooks", "project": build.project}, scope=("acme.webhooks", "2")
    )
    values: dict[str, Attribute] = {
        "vcs.repository.url.full": build.url,
        "vcs.change.id": str(number),
        "vcs.change.title": title,
        "vcs.change.state": state,
        "vcs.ref.head.name": build.branch,
        "vcs.ref.head.revision": build.revision,
        "vcs.ref.base.name": "main",
    }
    out.span(
        sender,
        _staged(build.work, ""),
        out.new_trace(),
        f"pull_request {state}",
        build.start_ns,
        build.start_ns + SECOND,
        values,
    )


# --- environments


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of an image to an environment."""

    project: str
    service: str
    image: str
    id: str
    environment: str
    work: Work
    start_ns: int
    end_ns: int
    succeeded: bool = True


def _environment(one: Deployment) -> Sender:
    return Sender(
        resource={"service.name": "deployment-reporter", "project": one.project}
        | {"k8s.cluster.name": "fra-1", "k8s.namespace.name": f"{one.project}-{one.environment}"},
        scope=("acme.deployments", "1"),
    )


def deploy(out: Outbox, rng: Random, one: Deployment) -> None:
    """What a notification of Argo CD becomes: the digest, and no commit."""
    sender, work = _environment(one), _staged(one.work, "deployment")
    values: dict[str, Attribute] = {
        "deployment.name": one.service,
        "deployment.id": one.id,
        "deployment.environment.name": one.environment,
        "deployment.status": "succeeded" if one.succeeded else "failed",
        "oci.manifest.digest": one.image,
        "sdlc.deployment.strategy": "rolling",
    }
    own = out.span(
        sender, work, out.new_trace(), f"deploy {one.service}", one.start_ns, one.end_ns, values,
        status=0 if one.succeeded else 2, message="" if one.succeeded else "progress deadline exceeded",
        error_type="" if one.succeeded else "_OTHER",
    )  # fmt: skip
    for pod in range(rng.randrange(1, 4) if one.succeeded else 0):
        ready = one.start_ns + (one.end_ns - one.start_ns) * (pod + 1) // 4
        name = f"{one.service}-{one.image[7:14]}-{pod}"
        told: dict[str, Attribute] = {"k8s.pod.name": name, "sdlc.pod.ready_time": (ready - one.start_ns) / SECOND}
        out.span(sender, work, own, f"wait for {name}", one.start_ns, ready, told)


def roll_back(out: Outbox, one: Deployment, start_ns: int, end_ns: int) -> None:
    """The deployment is taken back."""
    values: dict[str, Attribute] = {"deployment.id": one.id, "deployment.environment.name": one.environment}
    values |= {"sdlc.rollback.reason": "health_check", "sdlc.stage.name": "deployment", "deployment.name": one.service}
    out.span(
        _environment(one),
        _staged(one.work, "deployment"),
        out.new_trace(),
        f"roll back {one.service}",
        start_ns,
        end_ns,
        values,
    )


# --- tests


@dataclass(frozen=True, slots=True)
class Suite:
    """One run of a suite of tests."""

    project: str
    name: str
    stage: str
    known_by: Mapping[str, Attribute]
    """The commit, the deployment or the requirement that it was told to test."""
    work: Work
    start_ns: int
    end_ns: int
    cases: int
    failing: int = 0


def run_suite(out: Outbox, rng: Random, suite: Suite, service: str = "pytest", links: Sequence[Parent] = ()) -> None:
    """A suite and its cases; the first `failing` of them fail."""
    sender = Sender(resource={"service.name": service, "project": suite.project}, scope=("acme.test", "1.0"))
    work = _staged(suite.work, suite.stage)
    status = "failure" if suite.failing else "success"
    values: dict[str, Attribute] = {"test.suite.name": suite.name, "test.suite.run.status": status}
    values |= {"sdlc.test.run.id": f"run-{rng.randbytes(6).hex()}", **suite.known_by}
    own = out.span(
        sender, work, out.new_trace(), suite.name, suite.start_ns, suite.end_ns, values,
        status=2 if suite.failing else 0, message="tests failed" if suite.failing else "", links=links,
    )  # fmt: skip
    length = (suite.end_ns - suite.start_ns) // suite.cases
    for number in range(suite.cases):
        failed, start = number < suite.failing, suite.start_ns + number * length
        case: dict[str, Attribute] = {
            "test.case.name": f"{suite.name.split()[0]} case {number}",
            "test.case.result.status": "fail" if failed else "pass",
        }
        out.span(
            sender, work, own, str(case["test.case.name"]), start, start + length, case,
            error_type="test_failure" if failed else "",
        )  # fmt: skip
