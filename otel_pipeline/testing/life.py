"""How requirements live in a simulated organisation: who works on them when, what fails, what is sent back."""

from collections.abc import Generator, Iterator
from dataclasses import replace

from otel_pipeline.testing.agents import (
    Commit,
    Job,
    claude_code,
    claude_prompt,
    codex,
    codex_turn,
    openclaw,
    openclaw_run,
)
from otel_pipeline.testing.outbox import SECOND, Parent, Sender
from otel_pipeline.testing.pipelines import (
    Build,
    Deployment,
    Suite,
    change,
    deploy,
    github_build,
    jenkins_build,
    publish,
    roll_back,
    run_suite,
)
from otel_pipeline.testing.truth import Ref, RequirementTruth, Work
from otel_pipeline.testing.wire import Attribute
from otel_pipeline.testing.world import MINUTE, Project, Session, Train, World

__all__ = ["Life"]


class Life:
    """One requirement. Its methods yield the times at which they go on."""

    def __init__(self, world: World, project: Project, truth: RequirementTruth, number: int) -> None:
        self.world, self.project, self.truth = world, project, truth
        self.rng, self.out = world.rng, world.out
        self.usage = world.usage[truth.ref]
        self.repository = project.repositories[number % len(project.repositories)]
        topic = number // len(project.repositories)
        self.branch = {
            "people": f"feature/{truth.requirement}-topic-{topic}",
            "resumed": f"fix/rounding-{number}",
            "tasks": f"fix/login-{topic}",
        }[project.coding]
        self.revision, self.image, self.change = "", "", 0
        self.shared: tuple[Ref, ...] = ()
        self.title = f"[{truth.requirement}] Topic {topic}"

    def work(self, stage: str) -> Work:
        """Spans of this requirement alone."""
        return Work((self.truth.ref,), stage)

    def stay(self, stage: str, start_ns: int, end_ns: int) -> None:
        """It was in a stage."""
        self.world.stays[self.truth.ref].append((stage, start_ns, end_ns))

    def chance(self, share: float) -> bool:
        """Whether something happens that happens as often as that."""
        return self.rng.random() < share

    def run(self) -> Iterator[int]:
        """From the first analysis to the last redeployment."""
        kind = self.truth.requirement_class
        yield from self.conduct("requirement_analysis", 10, 50)
        if kind == "feature":
            yield from self.product_design()
        if kind in ("feature", "bug"):
            yield from self.technical_design(kind == "feature")
        if self.chance(0.05):
            self.end("cancelled", self.world.now)
            return
        while True:
            yield from self.build_up()
            if self.chance(0.02):
                self.end("cancelled", self.world.now)
                return
            yield from self.review()
            if self.chance(0.4):
                yield from self.ride()
                break
            yield from self.merge()
            if (yield from self.stage_and_test()):
                yield from self.release()
                if (yield from self.accept()):
                    break
            self.truth.sent_back += 1
        yield from self.redeploy()

    def end(self, state: str, ended_ns: int) -> None:
        """Accepted or cancelled; the tracker tells the latter, as nobody else can."""
        self.truth.state, self.truth.ended_ns = state, ended_ns
        if state == "cancelled":
            tracker = Sender({"service.name": "tracker", "project": self.project.name}, log_scope=("acme.tracker", "1"))
            told = {"event.name": "sdlc.requirement.ended", "sdlc.requirement.id": self.truth.requirement}
            self.out.log(tracker, "", self.world.now, {**told, "sdlc.outcome": "cancelled"}, Parent(b""))

    # --- analysis and design

    def conductor(self) -> Sender:
        """The organisation's own program that gives work to agents, instrumented with our conventions."""
        return Sender({"service.name": "conductor", "project": self.project.name}, scope=("acme.conductor", "3"))

    def task(self, stage: str, start_ns: int, end_ns: int, **told: Attribute) -> Parent:
        """The conductor's span around the work of an agent."""
        values: dict[str, Attribute] = {"sdlc.requirement.id": self.truth.requirement, "sdlc.stage.name": stage}
        values |= {"sdlc.requirement.class": self.truth.requirement_class, "sdlc.requirement.title": self.truth.title}
        values |= {key.replace("__", "."): value for key, value in told.items()}
        return self.out.span(
            self.conductor(), self.work(stage), self.out.new_trace(), f"task {stage}", start_ns, end_ns, values
        )

    def job(self, stage: str, start_ns: int, end_ns: int, turns: int, model: str = "claude-sonnet-4-5") -> Job:
        """Work of an agent."""
        return Job(self.out, self.rng, self.work(stage), self.usage, start_ns, end_ns, turns, model)

    def conduct(self, stage: str, low: float, high: float, **told: Attribute) -> Iterator[int]:
        """OpenClaw does a stage below a task."""
        start = self.world.now
        end = start + self.world.between(low, high)
        parent = self.task(stage, start, end, **told)
        sender = openclaw({"project": self.project.name})
        openclaw_run(self.job(stage, start + SECOND, end - SECOND, self.world.turns(4, 14)), sender, parent)
        if self.chance(0.02):
            lost = Work((self.truth.ref,), "", is_told=False)
            told = {"openclaw.exec.target": "host", "openclaw.outcome": "completed", "openclaw.exec.exit_code": 0}
            self.out.span(sender, lost, self.out.new_trace(), "openclaw.exec", start + MINUTE, start + 2 * MINUTE, told)
        self.stay(stage, start, end)
        yield end

    def approve(self, stage: str, **told: Attribute) -> Iterator[int]:
        """Somebody reads and decides, hours or days later. The document's tool knows the document only."""
        yield self.world.work_time(self.world.now + self.world.between(60, 2200))
        start = self.world.now
        end = start + self.world.between(4, 25)
        tool = Sender({"service.name": "documents", "project": self.project.name}, scope=("acme.documents", "1"))
        values: dict[str, Attribute] = {"sdlc.intervention.type": "approval", "sdlc.stage.name": stage}
        values |= {"sdlc.intervention.resolution": "approved"}
        values |= {key.replace("__", "."): value for key, value in told.items()}
        self.out.span(tool, self.work(stage), self.out.new_trace(), "intervention approval", start, end, values)
        self.truth.interventions += 1
        self.stay(stage, start, end)
        yield end

    def product_design(self) -> Iterator[int]:
        """The PRD, in one or more rounds."""
        document = f"PRD-{self.truth.requirement.partition('-')[2]}"
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            yield from self.conduct("prd_design", 20, 120, sdlc__document__id=document)
            yield from self.approve("prd_design", sdlc__document__id=document)

    def technical_design(self, with_api: bool) -> Iterator[int]:
        """Claude Code designs; now and then the design shows that the PRD has to change."""
        yield from self.claude_task("technical_design", 15, 90, "claude-opus-4-5")
        if with_api and self.chance(0.2):
            self.truth.sent_back += 1
            yield from self.product_design()
            yield from self.claude_task("technical_design", 15, 40, "claude-opus-4-5")
        if with_api:
            yield self.world.now + self.world.between(5, 600)
            yield from self.claude_task("api_design", 10, 50, "claude-sonnet-4-5")

    def claude_task(self, stage: str, low: float, high: float, model: str) -> Iterator[int]:
        """`claude -p` below a task of the conductor, which hands TRACEPARENT on."""
        start = self.world.now
        end = start + self.world.between(low, high)
        parent = self.task(stage, start, end)
        session = self.new_session({"project": self.project.name, "stage": stage})
        job = self.job(stage, start + 2 * SECOND, end - 2 * SECOND, self.world.turns(10, 40), model)
        claude_prompt(job, session.sender, parent, 1)
        self.stay(stage, start, end)
        yield end

    def new_session(self, env: dict[str, str], repository: str = "") -> Session:
        """A session on some host."""
        identity = f"{self.rng.randbytes(4).hex()}-{self.rng.randbytes(2).hex()}"
        sender = claude_code(self.rng, env, identity, repository, self.world.skew())
        sender.late_ns = self.world.lateness()
        return Session(sender)

    # --- coding, unit tests and the branch's builds

    def build_up(self) -> Iterator[int]:
        """Coding until the branch's build passes."""
        while True:
            yield from self.code()
            yield from self.unit_test()
            if self.chance(0.12):
                self.truth.sent_back += 1
                continue
            yield self.world.now + self.world.between(1, 8)
            if not self.change:
                self.change = self.world.number()
                self.tell_change("opened")
            else:
                self.tell_change("synchronize")
            failing = self.rng.choice(("Build", "Unit tests")) if self.chance(0.2) else ""
            yield from self.build(self.branch, self.revision, self.work("ci_cd"), failing=failing)
            if failing and self.chance(0.3):
                yield from self.build(self.branch, self.revision, self.work("ci_cd"))
            elif failing:
                self.truth.sent_back += 1
                continue
            return

    def code(self) -> Iterator[int]:
        """An agent writes code and commits it, as the project drives its agents; sometimes a second one beside it."""
        start = self.world.now
        self.revision = self.rng.randbytes(20).hex()
        end = start + self.world.between(30, 200)
        turns = self.world.turns(30, 110)
        url = f"https://github.com/{self.repository}"
        commit = Commit("" if self.project.coding == "tasks" else url, self.branch, self.revision)
        if self.project.coding == "people":
            yield from self.code_by_hand(turns, Commit("", self.branch, self.revision))
            return
        job = self.job("coding", start + 5 * SECOND, end - 5 * SECOND, turns)
        if self.project.coding == "resumed":
            self.code_resumed(job, commit, start, end)
        else:
            self.code_told(job, commit)
        if self.chance(0.25):
            beside = self.job("coding", start + 3 * MINUTE, end - MINUTE, max(1, turns // 3))
            self.code_told(beside, None)
        self.stay("coding", start, end)
        yield end

    def borrow(self, pool: str, until_ns: int) -> Session:
        """A session that is free, or a new one; after a while people begin a new one."""
        pool = f"{self.project.name} {pool}"
        free = [one for one in self.world.sessions[pool] if one.free_ns <= self.world.now and one.served < 6]
        if free:
            session = free[0]
        else:
            env = {"project": self.project.name, "stage": "coding"}
            session = self.new_session(env, self.repository if pool.endswith("people") else "")
            self.world.sessions[pool].append(session)
        session.free_ns, session.served = until_ns + 5 * MINUTE, session.served + 1
        return session

    def code_by_hand(self, turns: int, commit: Commit) -> Iterator[int]:
        """A person's session: a trace for each prompt; the commit at its start is all that names the branch."""
        yield self.world.work_time(self.world.now)
        prompts = max(1, min(6, turns // 6))
        start = self.world.now
        end = start + self.world.between(30, 200)
        session = self.borrow("people", end)
        step = (end - start) // prompts
        for number in range(prompts):
            begin = start + number * step
            session.prompts += 1
            job = self.job("coding", begin, begin + step * 4 // 5, max(1, turns // prompts))
            asking = replace(job, asking=0.05)
            claude_prompt(
                asking, session.sender, self.out.new_trace(), session.prompts, commit if number == 0 else None
            )
        self.stay("coding", start, end)
        yield end

    def code_resumed(self, job: Job, commit: Commit, start_ns: int, end_ns: int) -> None:
        """`claude -p --resume` below a task; what a subagent brought later is a prompt in a trace of its own."""
        session = self.borrow("resumed", end_ns)
        follow = (end_ns - start_ns) // 5
        parent = self.task("coding", start_ns, end_ns - follow)
        session.prompts += 2
        first = job.part(job.start_ns, job.end_ns - follow, job.turns)
        claude_prompt(first, session.sender, parent, session.prompts - 1, commit)
        after = job.part(end_ns - follow + SECOND, end_ns, max(1, job.turns // 8))
        claude_prompt(after, session.sender, self.out.new_trace(), session.prompts)

    def code_told(self, job: Job, commit: Commit | None) -> None:
        """A task with the requirement in OTEL_RESOURCE_ATTRIBUTES."""
        env = {"project": self.project.name, "stage": "coding", "requirement": self.truth.requirement}
        claude_prompt(job, self.new_session(env).sender, self.out.new_trace(), 1, commit)

    def unit_test(self) -> Iterator[int]:
        """Codex writes and runs tests below a task."""
        start = self.world.now
        end = start + self.world.between(6, 30)
        parent = self.task("unit_test", start, end)
        sender = codex({"project": self.project.name, "stage": "unit_test"}, self.world.skew())
        codex_turn(self.job("unit_test", start + SECOND, end - SECOND, self.world.turns(5, 20)), sender, parent)
        self.stay("unit_test", start, end)
        yield end

    def tell_change(self, state: str) -> None:
        """The webhook bridge tells of the pull request."""
        now = self.world.now
        told = Build(
            self.project.name, self.repository, self.branch, self.revision, 0, self.work(""), now, now + SECOND
        )
        change(self.out, told, self.title if self.project.coding != "resumed" else "Rounding", self.change, state)

    def build(self, branch: str, revision: str, work: Work, *, failing: str = "", image: str = "") -> Iterator[int]:
        """A build of a commit."""
        start = self.world.now
        end = start + self.world.between(4, 20)
        one = Build(
            self.project.name, self.repository, branch, revision, self.world.number(), work, start, end,
            failing, image, self.world.skew(),
        )  # fmt: skip
        (jenkins_build if self.project.pipeline == "jenkins" else github_build)(self.out, one)
        if image and self.project.pipeline == "github":
            publish(self.out, one)
        for ref in work.owners:
            self.world.stays[ref].append(("ci_cd", start, end))
        yield end

    # --- review, merge and what is deployed

    def review(self) -> Iterator[int]:
        """Somebody looks at the pull request, after a while."""
        yield self.world.work_time(self.world.now + self.world.between(30, 2000))

    def merge(self) -> Iterator[int]:
        """A squash merge, and the build of its commit."""
        self.revision, self.image = self.rng.randbytes(20).hex(), f"sha256:{self.rng.randbytes(32).hex()}"
        self.tell_change("merged")
        yield self.world.now + self.world.between(1, 5)
        yield from self.build("main", self.revision, self.work("ci_cd"), image=self.image)
        self.change, self.branch = 0, f"{self.branch}-again"

    def ride(self) -> Iterator[int]:
        """Merged, built and deployed together with others, and accepted on its own."""
        trains, ref = self.world.trains, self.truth.ref
        train = trains.get(self.repository)
        if train is None:
            train = Train([ref], self.world.now + self.world.between(900, 4000), revision=self.rng.randbytes(20).hex())
            trains[self.repository] = train
        else:
            train.owners.append(ref)
        is_first = train.owners[0] == ref
        yield train.departs_ns
        self.revision = train.revision
        self.tell_change("merged")
        if is_first:
            trains.pop(self.repository)
            yield self.world.now + 2 * MINUTE
            yield from self.drive(train)
            train.arrived_ns = self.world.now
        while not train.arrived_ns:
            yield self.world.now + 10 * MINUTE
        yield from self.accept(by="requirement", is_sure=True)

    def drive(self, train: Train) -> Iterator[int]:
        """Everything that is done once for all changes of a train."""
        self.image = f"sha256:{self.rng.randbytes(32).hex()}"
        owners = self.shared = tuple(train.owners)
        yield from self.build("main", train.revision, Work(owners, "ci_cd"), image=self.image)
        for environment in ("staging", "production"):
            yield self.world.now + self.world.between(5, 90)
            yield from self.deploy(environment, owners)

    def deploy(self, environment: str, owners: tuple[Ref, ...] = (), *, succeeded: bool = True) -> Iterator[int]:
        """A deployment of the image."""
        start = self.world.now
        end = start + self.world.between(2, 12)
        owners = owners or (self.truth.ref,)
        self.deployment = Deployment(
            self.project.name, self.repository.partition("/")[2], self.image, f"{environment}-{self.world.number()}",
            environment, Work(owners, "deployment"), start, end, succeeded,
        )  # fmt: skip
        deploy(self.out, self.rng, self.deployment)
        for ref in owners:
            self.world.stays[ref].append(("deployment", start, end))
            self.world.out.truth.requirements[ref].deployments += 1
        yield end

    def stage_and_test(self) -> Generator[int, None, bool]:
        """On staging, with integration tests of the commit or the deployment; True where they pass."""
        yield self.world.now + self.world.between(2, 30)
        yield from self.deploy("staging")
        start = self.world.now + MINUTE
        end = start + self.world.between(5, 40)
        known = {"vcs.ref.head.revision": self.revision} if self.chance(0.5) else {"deployment.id": self.deployment.id}
        failing = self.rng.randrange(1, 4) if self.chance(0.12) else 0
        work = self.work("integration_test")
        cases = max(4, round(self.rng.randrange(10, 40) * self.world.work))
        name = "checkout integration"
        run_suite(
            self.out,
            self.rng,
            Suite(self.project.name, name, "integration_test", known, work, start, end, cases, failing),
        )
        self.stay("integration_test", start, end)
        yield end
        return not failing

    def release(self) -> Iterator[int]:
        """To production once somebody has allowed it; taken back and repeated where it does not get healthy."""
        yield from self.approve("deployment", deployment__id=self.deployment.id)
        while True:
            failed = self.chance(0.1)
            yield from self.deploy("production", succeeded=not failed)
            if not failed:
                return
            start = self.world.now + MINUTE
            roll_back(self.out, self.deployment, start, start + 3 * MINUTE)
            self.stay("deployment", start, start + 3 * MINUTE)
            yield start + self.world.between(30, 300)

    def accept(self, by: str = "", is_sure: bool = False) -> Generator[int, None, bool]:
        """The UI agent looks at what runs; True where it is as asked for."""
        yield self.world.now + self.world.between(10, 900)
        start = self.world.now
        end = start + self.world.between(5, 45)
        by = by or self.rng.choice(("requirement", "deployment", "link"))
        known: dict[str, Attribute] = {}
        links: list[Parent] = []
        if by == "requirement":
            known["sdlc.requirement.id"] = self.truth.requirement
        elif by == "deployment":
            known["deployment.id"] = self.deployment.id
        else:
            told = {"sdlc.requirement.id": self.truth.requirement}
            work = self.work("")
            trace = self.out.new_trace()
            links.append(
                self.out.span(self.conductor(), work, trace, "enqueue acceptance", start - SECOND, start, told)
            )
        failing = 0 if is_sure or not self.chance(0.12) else self.rng.randrange(1, 3)
        cases = max(3, round(self.rng.randrange(5, 20) * self.world.work))
        suite = Suite(
            self.project.name,
            "checkout acceptance",
            "ui_acceptance",
            known,
            self.work("ui_acceptance"),
            start,
            end,
            cases,
            failing,
        )
        run_suite(self.out, self.rng, suite, "ui-agent", links)
        self.stay("ui_acceptance", start, end)
        if not failing:
            self.end("accepted", end)
        yield end
        return not failing

    def redeploy(self) -> Iterator[int]:
        """Days later the same image is deployed once more, by somebody who knows its digest only."""
        if self.image and self.chance(0.3):
            yield self.world.now + self.world.between(2000, 9000)
            yield from self.deploy("production", self.shared)
