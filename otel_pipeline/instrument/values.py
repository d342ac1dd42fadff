"""Known values of attributes.

Generated from the semantic-convention files by `otel-pipeline semconv export --python`: change those, not this file.
"""

from enum import StrEnum


class CicdPipelineActionName(StrEnum):
    """Values of cicd.pipeline.action.name."""

    BUILD = "BUILD"
    RUN = "RUN"
    SYNC = "SYNC"


class CicdPipelineResult(StrEnum):
    """Values of cicd.pipeline.result."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLATION = "cancellation"
    SKIP = "skip"


class CicdPipelineRunState(StrEnum):
    """Values of cicd.pipeline.run.state."""

    PENDING = "pending"
    EXECUTING = "executing"
    FINALIZING = "finalizing"


class CicdPipelineTaskRunResult(StrEnum):
    """Values of cicd.pipeline.task.run.result."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLATION = "cancellation"
    SKIP = "skip"


class CicdPipelineTaskType(StrEnum):
    """Values of cicd.pipeline.task.type."""

    BUILD = "build"
    TEST = "test"
    DEPLOY = "deploy"


class DeploymentEnvironmentName(StrEnum):
    """Values of deployment.environment.name."""

    PRODUCTION = "production"
    STAGING = "staging"
    TEST = "test"
    DEVELOPMENT = "development"


class DeploymentStatus(StrEnum):
    """Values of deployment.status."""

    FAILED = "failed"
    SUCCEEDED = "succeeded"


class ErrorType(StrEnum):
    """Values of error.type."""

    OTHER = "_OTHER"


class GenAiOperationName(StrEnum):
    """Values of gen_ai.operation.name."""

    CHAT = "chat"
    CREATE_AGENT = "create_agent"
    EMBEDDINGS = "embeddings"
    EXECUTE_TOOL = "execute_tool"
    GENERATE_CONTENT = "generate_content"
    INVOKE_AGENT = "invoke_agent"
    INVOKE_WORKFLOW = "invoke_workflow"
    RETRIEVAL = "retrieval"
    TEXT_COMPLETION = "text_completion"


class GenAiProviderName(StrEnum):
    """Values of gen_ai.provider.name."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    AWS_BEDROCK = "aws.bedrock"
    AZURE_AI_OPENAI = "azure.ai.openai"
    AZURE_AI_INFERENCE = "azure.ai.inference"
    GCP_GEMINI = "gcp.gemini"
    GCP_VERTEX_AI = "gcp.vertex_ai"
    GCP_GEN_AI = "gcp.gen_ai"
    COHERE = "cohere"
    DEEPSEEK = "deepseek"
    GROQ = "groq"
    IBM_WATSONX_AI = "ibm.watsonx.ai"
    MISTRAL_AI = "mistral_ai"
    MOONSHOT_AI = "moonshot_ai"
    PERPLEXITY = "perplexity"
    X_AI = "x_ai"


class GenAiTokenType(StrEnum):
    """Values of gen_ai.token.type."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_CREATION = "cache_creation"
    REASONING = "reasoning"


class HttpRequestMethod(StrEnum):
    """Values of http.request.method."""

    CONNECT = "CONNECT"
    DELETE = "DELETE"
    GET = "GET"
    HEAD = "HEAD"
    OPTIONS = "OPTIONS"
    PATCH = "PATCH"
    POST = "POST"
    PUT = "PUT"
    TRACE = "TRACE"
    OTHER = "_OTHER"


class JenkinsBuildBranch(StrEnum):
    """Values of jenkins.build.branch."""

    MAIN = "main"
    MASTER = "master"
    PULL_REQUEST = "pull_request"
    HOTFIX = "hotfix"
    RELEASE = "release"
    BUGFIX = "bugfix"
    FEATURE = "feature"
    DEVELOP = "develop"
    OTHER = "other"


class JenkinsBuildResult(StrEnum):
    """Values of jenkins.build.result."""

    SUCCESS = "SUCCESS"
    UNSTABLE = "UNSTABLE"
    FAILURE = "FAILURE"
    NOT_BUILT = "NOT_BUILT"
    ABORTED = "ABORTED"
    OTHER = "OTHER"


class JenkinsQueueState(StrEnum):
    """Values of jenkins.queue.state."""

    WAITING = "waiting"
    BLOCKED = "blocked"
    BUILDABLE = "buildable"
    STUCK = "stuck"
    PENDING = "pending"
    UNKNOWN = "unknown"
    OTHER = "other"


class K8sContainerStatusLastTerminatedReason(StrEnum):
    """Values of k8s.container.status.last_terminated_reason."""

    COMPLETED = "Completed"
    ERROR = "Error"
    OOMKILLED = "OOMKilled"
    CRASHLOOPBACKOFF = "CrashLoopBackOff"
    EVICTED = "Evicted"
    CONTAINERCANNOTRUN = "ContainerCannotRun"
    DEADLINEEXCEEDED = "DeadlineExceeded"
    UNKNOWN = "unknown"
    OTHER = "other"


class K8sNodeConditionStatus(StrEnum):
    """Values of k8s.node.condition.status."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"


class K8sNodeConditionType(StrEnum):
    """Values of k8s.node.condition.type."""

    READY = "Ready"
    MEMORYPRESSURE = "MemoryPressure"
    DISKPRESSURE = "DiskPressure"
    PIDPRESSURE = "PIDPressure"
    NETWORKUNAVAILABLE = "NetworkUnavailable"


class K8sPodStatusPhase(StrEnum):
    """Values of k8s.pod.status.phase."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class NetworkIoDirection(StrEnum):
    """Values of network.io.direction."""

    RECEIVE = "receive"
    TRANSMIT = "transmit"


class SdlcAgentName(StrEnum):
    """Values of sdlc.agent.name."""

    CLAUDE_CODE = "claude_code"
    OPENCLAW = "openclaw"
    CODEX = "codex"
    GEMINI = "gemini"
    COPILOT = "copilot"
    JENKINS = "jenkins"
    GITHUB_ACTIONS = "github_actions"
    GITLAB_CI = "gitlab_ci"
    ARGOCD = "argocd"
    OTHER = "other"


class SdlcApiSpecificationFormat(StrEnum):
    """Values of sdlc.api.specification_format."""

    OPENAPI = "openapi"
    ASYNCAPI = "asyncapi"
    PROTOBUF = "protobuf"
    GRAPHQL = "graphql"
    JSON_SCHEMA = "json_schema"
    RAML = "raml"
    WSDL = "wsdl"
    MARKDOWN = "markdown"
    OTHER = "other"


class SdlcCheckType(StrEnum):
    """Values of sdlc.check.type."""

    FUNCTIONAL = "functional"
    VISUAL = "visual"
    ACCESSIBILITY = "accessibility"
    PERFORMANCE = "performance"
    COMPATIBILITY = "compatibility"
    REGRESSION = "regression"
    SMOKE = "smoke"
    ACCEPTANCE = "acceptance"
    OTHER = "other"


class SdlcCodeEditDecision(StrEnum):
    """Values of sdlc.code.edit_decision."""

    ACCEPT = "accept"
    REJECT = "reject"
    OTHER = "other"


class SdlcCodeFileType(StrEnum):
    """Values of sdlc.code.file_type."""

    SOURCE = "source"
    TEST = "test"
    CONFIG = "config"
    DOCUMENTATION = "documentation"
    BUILD = "build"
    MIGRATION = "migration"
    INTERFACE = "interface"
    UI = "ui"
    ASSET = "asset"
    OTHER = "other"


class SdlcCodeLanguage(StrEnum):
    """Values of sdlc.code.language."""

    BASH = "bash"
    C = "c"
    CPP = "cpp"
    CSHARP = "csharp"
    CSS = "css"
    DART = "dart"
    DOCKERFILE = "dockerfile"
    ELIXIR = "elixir"
    GO = "go"
    GROOVY = "groovy"
    HCL = "hcl"
    HTML = "html"
    JAVA = "java"
    JAVASCRIPT = "javascript"
    JSON = "json"
    KOTLIN = "kotlin"
    LUA = "lua"
    MARKDOWN = "markdown"
    OBJECTIVE_C = "objective_c"
    PERL = "perl"
    PHP = "php"
    POWERSHELL = "powershell"
    PROTOBUF = "protobuf"
    PYTHON = "python"
    R = "r"
    RUBY = "ruby"
    RUST = "rust"
    SCALA = "scala"
    SQL = "sql"
    SWIFT = "swift"
    TOML = "toml"
    TYPESCRIPT = "typescript"
    VUE = "vue"
    XML = "xml"
    YAML = "yaml"
    UNKNOWN = "unknown"
    OTHER = "other"


class SdlcComponentLayer(StrEnum):
    """Values of sdlc.component.layer."""

    PRESENTATION = "presentation"
    API = "api"
    APPLICATION = "application"
    DOMAIN = "domain"
    DATA = "data"
    INTEGRATION = "integration"
    INFRASTRUCTURE = "infrastructure"
    OTHER = "other"


class SdlcComponentType(StrEnum):
    """Values of sdlc.component.type."""

    SERVICE = "service"
    LIBRARY = "library"
    DATABASE = "database"
    CACHE = "cache"
    QUEUE = "queue"
    GATEWAY = "gateway"
    JOB = "job"
    UI = "ui"
    API = "api"
    EXTERNAL = "external"
    OTHER = "other"


class SdlcDebtCategory(StrEnum):
    """Values of sdlc.debt.category."""

    ARCHITECTURE = "architecture"
    CODE = "code"
    TEST = "test"
    DOCUMENTATION = "documentation"
    DEPENDENCY = "dependency"
    SECURITY = "security"
    PERFORMANCE = "performance"
    INFRASTRUCTURE = "infrastructure"
    OTHER = "other"


class SdlcDefectSeverity(StrEnum):
    """Values of sdlc.defect.severity."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    S0 = "S0"
    S1 = "S1"
    S2 = "S2"
    S3 = "S3"
    S4 = "S4"
    OTHER = "other"


class SdlcDefectStatus(StrEnum):
    """Values of sdlc.defect.status."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    FIXED = "fixed"
    VERIFIED = "verified"
    CLOSED = "closed"
    REOPENED = "reopened"
    WONT_FIX = "wont_fix"
    OTHER = "other"


class SdlcDeploymentStrategy(StrEnum):
    """Values of sdlc.deployment.strategy."""

    ROLLING = "rolling"
    BLUE_GREEN = "blue_green"
    CANARY = "canary"
    RECREATE = "recreate"
    A_B = "a_b"
    SHADOW = "shadow"
    OTHER = "other"


class SdlcDerivedFrom(StrEnum):
    """Values of sdlc.derived_from."""

    LOG_RECORD = "log_record"


class SdlcDesignType(StrEnum):
    """Values of sdlc.design.type."""

    ARCHITECTURE = "architecture"
    DETAILED = "detailed"
    API = "api"
    DATA = "data"
    UI = "ui"
    SECURITY = "security"
    INFRASTRUCTURE = "infrastructure"
    OTHER = "other"


class SdlcDocumentApprovalStatus(StrEnum):
    """Values of sdlc.document.approval_status."""

    DRAFT = "draft"
    PENDING = "pending"
    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"
    REJECTED = "rejected"
    OTHER = "other"


class SdlcEntityKind(StrEnum):
    """Values of sdlc.entity.kind."""

    REQUIREMENT = "requirement"
    DOCUMENT = "document"
    SESSION = "session"
    BRANCH = "branch"
    CHANGE = "change"
    COMMIT = "commit"
    PIPELINE_RUN = "pipeline_run"
    TEST_RUN = "test_run"
    ARTIFACT = "artifact"
    IMAGE = "image"
    DEPLOYMENT = "deployment"
    ENDING = "ending"


class SdlcFindingSeverity(StrEnum):
    """Values of sdlc.finding.severity."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"
    OTHER = "other"


class SdlcInterventionResolution(StrEnum):
    """Values of sdlc.intervention.resolution."""

    RESOLVED = "resolved"
    APPROVED = "approved"
    REJECTED = "rejected"
    PENDING = "pending"
    ESCALATED = "escalated"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    OTHER = "other"


class SdlcInterventionType(StrEnum):
    """Values of sdlc.intervention.type."""

    TAKEOVER = "takeover"
    ANSWER = "answer"
    CORRECTION = "correction"
    APPROVAL = "approval"
    REJECTION = "rejection"
    AUTOMATIC = "automatic"
    OTHER = "other"


class SdlcModelName(StrEnum):
    """Values of sdlc.model.name."""

    CLAUDE_OPUS_4_5 = "claude-opus-4-5"
    CLAUDE_OPUS_4_1 = "claude-opus-4-1"
    CLAUDE_OPUS_4 = "claude-opus-4"
    CLAUDE_SONNET_4_5 = "claude-sonnet-4-5"
    CLAUDE_SONNET_4 = "claude-sonnet-4"
    CLAUDE_HAIKU_4_5 = "claude-haiku-4-5"
    CLAUDE_3_7_SONNET = "claude-3-7-sonnet"
    CLAUDE_3_5_SONNET = "claude-3-5-sonnet"
    CLAUDE_3_5_HAIKU = "claude-3-5-haiku"
    GPT_5_2 = "gpt-5.2"
    GPT_5_1_CODEX_MINI = "gpt-5.1-codex-mini"
    GPT_5_1_CODEX = "gpt-5.1-codex"
    GPT_5_CODEX = "gpt-5-codex"
    GPT_5_MINI = "gpt-5-mini"
    GPT_5_NANO = "gpt-5-nano"
    GPT_5_1 = "gpt-5.1"
    GPT_5 = "gpt-5"
    GPT_4_1_MINI = "gpt-4.1-mini"
    GPT_4_1 = "gpt-4.1"
    GPT_4O_MINI = "gpt-4o-mini"
    GPT_4O = "gpt-4o"
    O4_MINI = "o4-mini"
    O3 = "o3"
    GEMINI_3_PRO = "gemini-3-pro"
    GEMINI_2_5_PRO = "gemini-2.5-pro"
    GEMINI_2_5_FLASH_LITE = "gemini-2.5-flash-lite"
    GEMINI_2_5_FLASH = "gemini-2.5-flash"
    DEEPSEEK_REASONER = "deepseek-reasoner"
    DEEPSEEK_CHAT = "deepseek-chat"
    GROK_CODE_FAST = "grok-code-fast"
    GROK_4 = "grok-4"
    KIMI_K2 = "kimi-k2"
    CODESTRAL = "codestral"
    DEVSTRAL = "devstral"
    QWEN3_CODER = "qwen3-coder"


class SdlcOutcome(StrEnum):
    """Values of sdlc.outcome."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    SKIPPED = "skipped"


class SdlcQuotaType(StrEnum):
    """Values of sdlc.quota.type."""

    HARD = "hard"
    USED = "used"
    OTHER = "other"


class SdlcRequirementCategory(StrEnum):
    """Values of sdlc.requirement.category."""

    FUNCTIONAL = "functional"
    NON_FUNCTIONAL = "non_functional"
    PERFORMANCE = "performance"
    SECURITY = "security"
    USABILITY = "usability"
    RELIABILITY = "reliability"
    COMPLIANCE = "compliance"
    INTERFACE = "interface"
    DATA = "data"
    BUSINESS = "business"
    OTHER = "other"


class SdlcRequirementClass(StrEnum):
    """Values of sdlc.requirement.class."""

    FEATURE = "feature"
    DEFECT = "defect"
    RISK = "risk"
    DEBT = "debt"
    UNKNOWN = "unknown"


class SdlcRequirementPriority(StrEnum):
    """Values of sdlc.requirement.priority."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"
    OTHER = "other"


class SdlcResourceType(StrEnum):
    """Values of sdlc.resource.type."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    GPU = "gpu"
    OTHER = "other"


class SdlcReviewOutcome(StrEnum):
    """Values of sdlc.review.outcome."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"
    COMMENTED = "commented"
    REJECTED = "rejected"
    FIXED = "fixed"
    WONT_FIX = "wont_fix"
    OTHER = "other"


class SdlcRevisionReason(StrEnum):
    """Values of sdlc.revision.reason."""

    UNCLEAR = "unclear"
    INCOMPLETE = "incomplete"
    INCORRECT = "incorrect"
    SCOPE_CHANGE = "scope_change"
    FEASIBILITY = "feasibility"
    COMPLIANCE = "compliance"
    STYLE = "style"
    OTHER = "other"


class SdlcRevisionRequesterRole(StrEnum):
    """Values of sdlc.revision.requester_role."""

    PRODUCT = "product"
    BUSINESS = "business"
    ARCHITECT = "architect"
    DEVELOPER = "developer"
    TESTER = "tester"
    DESIGNER = "designer"
    OPERATIONS = "operations"
    SECURITY = "security"
    AGENT = "agent"
    OTHER = "other"


class SdlcRollbackReason(StrEnum):
    """Values of sdlc.rollback.reason."""

    HEALTH_CHECK = "health_check"
    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    TEST_FAILURE = "test_failure"
    DEFECT = "defect"
    CONFIGURATION = "configuration"
    TIMEOUT = "timeout"
    SECURITY = "security"
    MANUAL = "manual"
    OTHER = "other"


class SdlcStageName(StrEnum):
    """Values of sdlc.stage.name."""

    REQUIREMENT_ANALYSIS = "requirement_analysis"
    PRD_DESIGN = "prd_design"
    TECHNICAL_DESIGN = "technical_design"
    API_DESIGN = "api_design"
    CODING = "coding"
    UNIT_TEST = "unit_test"
    INTEGRATION_TEST = "integration_test"
    CI_CD = "ci_cd"
    DEPLOYMENT = "deployment"
    UI_ACCEPTANCE = "ui_acceptance"


class SdlcTaskComplexity(StrEnum):
    """Values of sdlc.task.complexity."""

    TRIVIAL = "trivial"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    VERY_HIGH = "very_high"
    OTHER = "other"


class SdlcTaskType(StrEnum):
    """Values of sdlc.task.type."""

    FEATURE = "feature"
    BUGFIX = "bugfix"
    REFACTORING = "refactoring"
    TEST = "test"
    DOCUMENTATION = "documentation"
    REVIEW = "review"
    MIGRATION = "migration"
    ANALYSIS = "analysis"
    OTHER = "other"


class SdlcTestCoverageType(StrEnum):
    """Values of sdlc.test.coverage_type."""

    LINE = "line"
    BRANCH = "branch"
    FUNCTION = "function"
    STATEMENT = "statement"
    CONDITION = "condition"
    CLASS = "class"
    OTHER = "other"


class SdlcTestType(StrEnum):
    """Values of sdlc.test.type."""

    UNIT = "unit"
    INTEGRATION = "integration"
    CONTRACT = "contract"
    END_TO_END = "end_to_end"
    UI = "ui"
    PERFORMANCE = "performance"
    SECURITY = "security"
    REGRESSION = "regression"
    SMOKE = "smoke"
    OTHER = "other"


class SdlcToolName(StrEnum):
    """Values of sdlc.tool.name."""

    BASH = "Bash"
    POWERSHELL = "PowerShell"
    SHELL = "shell"
    EXEC = "exec"
    EXEC_COMMAND = "exec_command"
    RUN_SHELL_COMMAND = "run_shell_command"
    RUN_IN_TERMINAL = "run_in_terminal"
    READ = "Read"
    READ_FILE = "read_file"
    WRITE = "Write"
    WRITE_FILE = "write_file"
    EDIT = "Edit"
    NOTEBOOKEDIT = "NotebookEdit"
    APPLY_PATCH = "apply_patch"
    REPLACE = "replace"
    GLOB = "Glob"
    GREP = "Grep"
    LS = "LS"
    LSP = "LSP"
    WEBFETCH = "WebFetch"
    WEBSEARCH = "WebSearch"
    AGENT = "Agent"
    TASK = "Task"
    TODOWRITE = "TodoWrite"
    EXITPLANMODE = "ExitPlanMode"
    ASKUSERQUESTION = "AskUserQuestion"
    SKILL = "Skill"
    TOOLSEARCH = "ToolSearch"
    SAVE_MEMORY = "save_memory"
    BROWSER = "browser"
    MESSAGE = "message"
    RUN_TESTS = "run_tests"
    MCP = "mcp"
    OTHER = "other"


class SdlcWaitReason(StrEnum):
    """Values of sdlc.wait.reason."""

    APPROVAL = "approval"
    ANSWER = "answer"
    REVIEW = "review"
    QUEUE = "queue"
    REWORK = "rework"


class TestCaseResultStatus(StrEnum):
    """Values of test.case.result.status."""

    PASS = "pass"
    FAIL = "fail"


class TestSuiteRunStatus(StrEnum):
    """Values of test.suite.run.status."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIPPED = "skipped"
    ABORTED = "aborted"
    TIMED_OUT = "timed_out"
    IN_PROGRESS = "in_progress"


class VcsChangeState(StrEnum):
    """Values of vcs.change.state."""

    OPEN = "open"
    WIP = "wip"
    CLOSED = "closed"
    MERGED = "merged"


class VcsLineChangeType(StrEnum):
    """Values of vcs.line_change.type."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class VcsProviderName(StrEnum):
    """Values of vcs.provider.name."""

    BITBUCKET = "bitbucket"
    GITEA = "gitea"
    GITHUB = "github"
    GITLAB = "gitlab"


class VcsRefHeadType(StrEnum):
    """Values of vcs.ref.head.type."""

    BRANCH = "branch"
    TAG = "tag"
