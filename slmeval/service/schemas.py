"""What the API takes and gives, as its OpenAPI description shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from slmeval.service.item_page import Against, Item, Only
from slmeval.service.keys import NAME, Scope
from slmeval.service.option_values import Value

# ---- what goes wrong -----------------------------------------------------------------------------------


class Problem(BaseModel):
    """Every error of the API."""

    model_config = ConfigDict(extra="forbid")

    #: one sentence: the value, the place and the way out
    error: str


def _problem(description: str) -> dict[str, Any]:
    # written out: as a "model" it would have the media type of the route's own answers
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


#: what any route may answer instead, for ``responses=`` of a router
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _problem("The request is not what HTTP, or this server's addresses, allow."),
    401: _problem("A token is needed, or the one given is none of this server's."),
    403: _problem("The token is not for this, or the request came from another site."),
    404: _problem("There is no such thing."),
    408: _problem("The body did not come in time."),
    413: _problem("The body is longer than the server takes."),
    415: _problem("The body is not application/json, or packed."),
    421: _problem("The Host header does not name this server."),
    422: _problem("The request cannot be carried out as it is given."),
    431: _problem("The headers are longer than the server takes."),
    503: _problem("The store cannot be read or written now."),
}

# ---- tokens --------------------------------------------------------------------------------------------


class TokenRequest(BaseModel):
    """A token that is to be made. submit brings read; work is for devices; admin is everything."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)]


class TokenMade(BaseModel):
    """A token that was made: it is told this once."""

    name: str
    scopes: list[Scope]
    token: str


class TokenKnown(BaseModel):
    """A token without what is secret. ``created`` is ISO 8601, UTC."""

    name: str
    scopes: list[Scope]
    created: str


# ---- what is submitted ---------------------------------------------------------------------------------

#: the name of a task, an engine, a device or an option
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
#: a model's reference, or something else that may be longer
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
#: the id of a run or a batch: it is also a part of paths
RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
RunId = Annotated[str, StringConstraints(pattern=RUN_ID)]
_Shots = Annotated[int, Field(ge=0, le=1000)]
#: whole numbers up to here are kept as they are by every program that reads JSON
_MOST = 2**53 - 1


class _Exact(BaseModel):
    """What is taken: no unknown field, and no number for a text."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RunRequest(_Exact):
    """What is to be run; fields are as the flags of `slmeval run`. Each engine makes a run of its own."""

    tasks: Annotated[list[Name], Field(min_length=1, max_length=100)] = Field(
        description="Tasks, probes or groups by name, or globs of tasks.", examples=[["arc_easy"]]
    )
    backends: list[Name] = Field(
        [], max_length=10, description="Engines; none: the best that a connected device has."
    )
    models: list[Text] = Field(
        [],
        max_length=20,
        description="Models that the server allows, or BACKEND=MODEL; none: the demo model.",
    )
    devices: list[Name] = Field(
        [],
        max_length=100,
        description='Devices by name, a run on each; ["*"]: every connected one that has the engine; '
        "none: the first that is free and has it.",
    )
    shots: Annotated[list[_Shots], Field(min_length=1, max_length=20)] | None = None
    limit: int | None = Field(None, ge=1, le=10**9, description="Ask the first rows only.")
    sample: bool = Field(False, description="Ask the bundled sample rows.")
    dtype: Name | None = None
    seed: int = Field(1234, ge=0, le=_MOST)
    compat: Literal["lm-eval"] | None = None
    position_bias: bool = False
    options: dict[Name, Value] = Field({}, max_length=100, description="Options of engines and probes.")
    chat_template: Literal["off", "on", "both"] = "off"
    chat_shots: Literal["turns", "message"] = "turns"
    template_options: dict[Name, Value] = Field({}, max_length=100)
    thinking: Name = "auto"
    max_tokens: int | None = Field(None, ge=1, le=10**6)
    temperature: float = Field(0.0, ge=0, le=100, allow_inf_nan=False)
    top_p: float = Field(1.0, gt=0, le=1, allow_inf_nan=False)
    repeats: int = Field(1, ge=1, le=1000)
    timeout: float = Field(600.0, gt=0, le=86400, allow_inf_nan=False, description="Seconds for one answer.")
    target_ci: list[Name] = Field([], max_length=20, description="End a task when its interval is so narrow.")
    rules: list[Text] = Field([], max_length=100, description="What until_decided decides.")
    until_decided: bool = False


class SubmittedRun(BaseModel):
    """One run of a submission. ``device``: the one that was asked for; ``None``: any that can."""

    id: RunId
    backend: str
    device: str | None


class Submitted(BaseModel):
    """What a submission became."""

    batch: RunId
    runs: list[SubmittedRun]


# ---- runs ----------------------------------------------------------------------------------------------

RunState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]


class RunLine(BaseModel):
    """One run of the list.

    ``began``: when it was submitted, or where it was not submitted here, when it started; ``ended``: when it
    ended; both ISO 8601, UTC. ``origin``: submitted to the service, uploaded, or made by this store's own
    command line. A run that was made elsewhere is "running" also where it was killed.
    """

    id: str
    state: RunState
    origin: Literal["service", "upload", "here"]
    began: str
    ended: str | None
    batch: str | None
    submitter: str | None
    backends: list[str]
    models: list[str]
    tasks: list[str]
    wanted: str | None
    device: str | None
    reason: str


class RunList(BaseModel):
    """Runs, newest first; ``next``: give this as ``before`` for those after them, if there are more."""

    runs: list[RunLine]
    next: str | None


class RunProgress(BaseModel):
    """How far a run is in what it does now."""

    label: str
    done: float
    total: float | None
    unit: str


class RunDetail(RunLine):
    """One run. ``has_result``: there is a document of it, which may be partial until it is done.

    ``options`` are those of `slmeval run`; ``attempts`` count the losses in a row that brought no answer.
    """

    options: dict[str, Any]
    has_result: bool
    pinned: bool
    attempts: int
    progress: RunProgress | None


class Cancelled(BaseModel):
    """What cancelling came to: "running" where it ends as soon as its device has heard of it."""

    id: str
    state: RunState


# ---- results -------------------------------------------------------------------------------------------


class GateRequest(_Exact):
    """A run that is held against rules, and against a baseline: another run, or a document of either kind."""

    run: RunId
    baseline: RunId | dict[str, Any] | None = None
    rules: list[Text] = Field(
        [],
        max_length=200,
        description="None: no accuracy may be lower than the baseline's.",
        examples=[["arc_easy/acc >= baseline - 1pt"]],
    )
    shared: bool = Field(False, description="Hold what was not asked alike against what both have.")
    recovery_of: Annotated[str, StringConstraints(max_length=1000)] = Field(
        "", description="Hold the run's other models against this one of it."
    )


class Items(BaseModel):
    """Some items of a cell, as they are answered and scored; ``sides`` are what they are held against.

    Of ``total`` items ``count`` are of the kind that was asked for (``only``).
    """

    run: str
    cell: int
    figure: str | None
    only: Only
    offers: list[Only]
    offset: int
    limit: int
    total: int
    count: int
    items: list[Item]
    sides: list[Against]
    notes: list[str]


# ---- uploads -------------------------------------------------------------------------------------------


class Uploaded(BaseModel):
    """The run that the server has now. ``sha256``: of the document's content, however it is written."""

    id: RunId
    sha256: str


# ---- what there is -------------------------------------------------------------------------------------


class DeviceLine(BaseModel):
    """A device. ``memory``: bytes free for a model, as it last told. ``machine``: as in a run's document.

    ``run``: what it is busy with. ``first``, ``last``: when it first, and last, began to work.
    """

    name: str
    state: Literal["here", "gone"]
    run: str | None
    local: bool
    engines: list[str]
    memory: int | None
    machine: dict[str, Any]
    first: str | None
    last: str | None


class DeviceList(BaseModel):
    """Devices by name."""

    devices: list[DeviceLine]


class OptionLine(BaseModel):
    """An option of an engine or a probe."""

    name: str
    default: str | int | float | bool | None
    help: str
    choices: list[str]


class TaskLine(BaseModel):
    """A task, a group or a probe. ``rows``: of the whole data set; ``chance``: what guessing scores."""

    name: str
    kind: Literal["task", "group", "probe"]
    version: str
    shots: int | None = None
    rows: int | None = None
    chance: float | None = None
    licence: str = ""
    source: str = ""
    members: list[str] = []
    options: list[OptionLine] = []


class TaskList(BaseModel):
    """All tasks, groups and probes."""

    tasks: list[TaskLine]


class BackendLine(BaseModel):
    """An engine. ``devices``: the connected ones that have it; ``preference``: higher goes first."""

    name: str
    preference: int
    forms: list[str]
    capabilities: list[str]
    options: list[OptionLine]
    devices: list[str]


class BackendList(BaseModel):
    """All engines that this server knows."""

    backends: list[BackendLine]


class ModelList(BaseModel):
    """Models by name; ``hubs`` and ``servers`` are patterns of, and beginnings of, further names."""

    models: list[str]
    hubs: list[str]
    servers: list[str]


# ---- the server ----------------------------------------------------------------------------------------


class Health(BaseModel):
    """All is well; else the answer is an error."""

    status: Literal["ok"]
