"""What has to hold between different parts of the configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from monitor.config.alerts import DigestOptions, Route
from monitor.config.columns import kinds_of
from monitor.config.keep import Keep, keep_problems
from monitor.config.problem import Path, choices, nearest, show
from monitor.config.section import Finding
from monitor.config.service import Http, Stream, Topics
from monitor.config.settings import METRICS, TASKS, ModelSettings
from monitor.loopback import is_loopback
from schemas.duration import format_duration
from schemas.errors import UsageError
from schemas.window import WindowSpec

_MOST_OVERLAPPING = 1_000
_MOST_SLICES = 1_000_000


def problems_across(
    *,
    defaults: ModelSettings,
    models: Mapping[str, ModelSettings],
    streams: Mapping[int, Stream],
    topics: Topics,
    routes: Mapping[int, Route],
    digest: DigestOptions,
    receivers: Collection[str],
    urls: Sequence[str],
    http: Http,
    keep: Keep,
) -> list[Finding]:
    """Find everything that does not fit together.

    Parameters
    ----------
    defaults : ModelSettings
        The settings under ``defaults``.
    models : Mapping of str to ModelSettings
        The entries of ``models``, not merged yet.
    streams, routes : Mapping of int
        Items that could be read, by their position in the file.
    topics : Topics
        Names of the topics that Driftline writes.
    digest : DigestOptions
        What stands under ``alerts.digest``.
    receivers : Collection of str
        Names of the receivers.
    urls : Sequence of str
        Which of the keys for the database's URL are given.
    http : Http
        What stands under ``http``.
    keep : Keep
        What stands under ``keep``.

    Returns
    -------
    list of (path, message)
        Paths from the top of the file.
    """
    return [
        *_database(urls),
        *_streams(streams, topics),
        *_http(http, streams),
        *_rules(defaults, defaults.model_fields_set, ("defaults",)),
        *(
            (("defaults", "columns", name, *path), message)
            for name, column in defaults.columns.items()
            for path, message in column.idle_rules()
        ),
        *(finding for name, entry in models.items() for finding in _model(name, entry, defaults)),
        *(
            finding
            for index, route in routes.items()
            for finding in _receivers(("alerts", "routes", index, "to"), route.to, receivers)
        ),
        *(
            finding
            for index, route in routes.items()
            if route.escalate is not None
            for finding in _receivers(
                ("alerts", "routes", index, "escalate", "to"), route.escalate.to, receivers
            )
        ),
        *_receivers(("alerts", "digest", "to"), digest.to, receivers),
        *keep_problems(
            keep,
            [
                ("models without an entry", defaults),
                *((f"model {show(name)}", defaults.overlaid(entry)) for name, entry in models.items()),
            ],
        ),
    ]


def _database(urls: Sequence[str]) -> Iterator[Finding]:
    if not urls:
        yield ("database_url",), "is required (or database_url_env, or database_url_file)"
    for key in urls[1:]:
        yield (key,), f"stands beside {urls[0]} (give one of them)"


def _streams(streams: Mapping[int, Stream], topics: Topics) -> Iterator[Finding]:
    own = {topics.control: "control", topics.results: "results", topics.alerts: "alerts"}
    first: dict[str, int] = {}
    for index, stream in streams.items():
        place: Path = ("streams", index, "topic")
        if stream.topic in first:
            yield (
                place,
                f"{show(stream.topic)} is read by streams[{first[stream.topic]}] already (list a topic once)",
            )
        elif stream.topic in own:
            yield (
                place,
                f"{show(stream.topic)} is what Driftline itself writes (see topics.{own[stream.topic]})",
            )
        first.setdefault(stream.topic, index)


def _http(http: Http, streams: Mapping[int, Stream]) -> Iterator[Finding]:
    yield from _reachable(http)
    events = http.events
    if events is None:
        return
    kinds = {stream.topic: stream.kind for stream in streams.values()}
    for kind in ("predictions", "labels"):
        topic = getattr(events, kind)
        if topic is not None and kinds.get(topic) != kind:
            known = [name for name, its in kinds.items() if its == kind]
            allowed = choices(known) if known else f"(add a stream of kind {kind})"
            yield ("http", "events", kind), f"{show(topic)} is no stream of {kind} {allowed}"
    if events.token_at is None and not is_loopback(http.host):
        yield (
            ("http", "events"),
            f"needs a token, since {http.host} can be reached from elsewhere (token_env or token_file)",
        )
    elif events.token_at is None and (http.sign_in is not None or http.allow_anonymous):
        yield ("http", "events"), "needs a token, as everything else does (token_env or token_file)"


def _reachable(http: Http) -> Iterator[Finding]:
    """Check that nobody comes in who was not meant to."""
    if http.sign_in is None and not http.allow_anonymous and not is_loopback(http.host):
        yield (
            ("http", "host"),
            f"{show(http.host)} can be reached from elsewhere, and nobody would have to sign in "
            "(use http.sign_in, or 127.0.0.1, or http.allow_anonymous: true where the network has a door)",
        )
    if http.sign_in is not None and http.allow_anonymous:
        yield ("http", "allow_anonymous"), "stands beside sign_in (give one of them)"
    if "anonymous_role" in http.model_fields_set and not http.allow_anonymous:
        yield ("http", "anonymous_role"), "goes with allow_anonymous: true"
    if http.metrics_need_token and http.sign_in is None:
        yield ("http", "metrics_need_token"), "goes with sign_in: without it, everybody may read"
    if http.strict_transport_ms is not None and not (http.public_url or "").startswith("https://"):
        yield ("http", "strict_transport"), "goes with an http.public_url that begins with https://"
    if http.sign_in is not None and http.sign_in.type == "oidc" and http.public_url is None:
        yield (
            ("http", "sign_in"),
            "needs http.public_url, the address that the provider leads people back to",
        )


def _model(name: str, entry: ModelSettings, defaults: ModelSettings) -> Iterator[Finding]:
    """Check a model's settings in effect; what ``defaults`` alone has wrong is reported there."""
    place: Path = ("models", name)
    merged = defaults.overlaid(entry)
    inherited = {message for _, message in _rules(defaults, set(), ())}
    for path, message in _rules(merged, entry.model_fields_set, place):
        if message not in inherited:
            yield path, message
    if "dedupe_ms" in entry.model_fields_set:
        yield (*place, "dedupe"), "holds for all models of a topic alike (give it under defaults)"
    for column, contract in entry.columns.items():
        if not contract.contradictions():
            whole = merged.columns[column]
            for path, message in (*whole.contradictions(), *whole.idle_rules()):
                yield (*place, "columns", column, *path), message


def _rules(settings: ModelSettings, given: AbstractSet[str], place: Path) -> Iterator[Finding]:
    """Check settings in effect; `given` are the fields that stand in this part of the file."""
    wrong = {
        i: problem
        for i, window in enumerate(settings.windows)
        if (problem := _window_problem(window, settings))
    }
    if "windows" in given:
        yield from (((*place, "windows", index), problem) for index, problem in wrong.items())
    elif wrong:
        yield (*place, "slice"), "; ".join(wrong.values())
    if settings.lateness_ms > settings.horizon_ms:
        late, horizon = format_duration(settings.lateness_ms), format_duration(settings.horizon_ms)
        message = f"lateness '{late}' is longer than horizon '{horizon}' (use lateness ≤ horizon)"
        yield (*place, "lateness" if "lateness_ms" in given else "horizon"), message
    labels = settings.labels
    if "wait_ms" in labels.model_fields_set and labels.wait_ms > labels.horizon_ms:
        waited, horizon = format_duration(labels.wait_ms), format_duration(labels.horizon_ms)
        message = f"wait '{waited}' is longer than horizon '{horizon}' (use wait ≤ horizon)"
        yield (*place, "labels"), message
    if settings.tolerance_psi > settings.threshold_psi:
        message = (
            f"tolerance_psi {settings.tolerance_psi:g} is above threshold_psi {settings.threshold_psi:g}"
        )
        yield (*place, "tolerance_psi" if "tolerance_psi" in given else "threshold_psi"), message
    if given & {"rules", "columns"}:
        yield from _cross_rules(settings, place)
    yield from _performance(settings, place)
    yield from _fairness(settings, place)
    if given & {"detector", "detector_parameters"}:
        yield from _detector(settings, given, place)
    for index, segment in enumerate(settings.segments):
        if segment in settings.segments[:index]:
            yield (*place, "segments", index), f"{show(segment)} is listed twice"


def _cross_rules(settings: ModelSettings, place: Path) -> Iterator[Finding]:
    kinds = kinds_of(settings.columns)
    for name, rule in settings.rules.items():
        for problem in rule.problems(kinds):
            yield (*place, "rules", name, "expression"), problem


def _window_problem(window: WindowSpec, settings: ModelSettings) -> str | None:
    slice_text = format_duration(settings.slice_ms)
    if window.length_ms % settings.slice_ms or window.every_ms % settings.slice_ms:
        return f"window '{window}' is not a multiple of the slice, {slice_text} (use a slice that divides it)"
    if window.length_ms // settings.slice_ms > _MOST_SLICES:
        return f"window '{window}' holds more than {_MOST_SLICES} slices of {slice_text} (use a longer slice)"
    if window.length_ms // window.every_ms > _MOST_OVERLAPPING:
        return f"window '{window}' overlaps with more than {_MOST_OVERLAPPING} others (use a longer step)"
    if settings.windows.count(window) > 1:
        return f"window '{window}' is listed twice"
    return None


def _performance(settings: ModelSettings, place: Path) -> Iterator[Finding]:
    performance, task = settings.performance, settings.task
    if performance is None:
        return
    if performance.metric == "cost" and not performance.costs:
        yield (*place, "performance", "metric"), "cost needs the costs of outcomes (list them under costs)"
    if task is None or task in METRICS[performance.metric]:
        return
    suitable = [metric for metric, tasks in METRICS.items() if task in tasks]
    yield (
        (*place, "performance", "metric"),
        f"{show(performance.metric)} does not suit {task} {choices(suitable)}",
    )


def _fairness(settings: ModelSettings, place: Path) -> Iterator[Finding]:
    fairness = settings.fairness
    if fairness is None:
        return
    if settings.task not in (None, TASKS[0]):
        yield (*place, "fairness"), f"does not suit {settings.task} (task: {TASKS[0]} is allowed)"
    for index, segment in enumerate(fairness.segments):
        path = (*place, "fairness", "segments", index)
        if segment in fairness.segments[:index]:
            yield path, f"{show(segment)} is listed twice"
        elif segment not in settings.segments:
            allowed = choices(settings.segments) if settings.segments else "(list it under segments)"
            yield path, f"{show(segment)} is no segment of the model {allowed}"
    for index, measure in enumerate(fairness.measures):
        if measure in fairness.measures[:index]:
            yield (*place, "fairness", "measures", index), f"{show(measure)} is listed twice"
    for measure in fairness.limits:
        if measure not in fairness.measures:
            yield (
                (*place, "fairness", "limits", measure),
                f"{show(measure)} is not among the measures {choices(fairness.measures)}",
            )


def _detector(settings: ModelSettings, given: AbstractSet[str], place: Path) -> Iterator[Finding]:
    try:
        settings.build_detector()
    except UsageError as error:
        key = "detector_parameters" if "detector_parameters" in given else "detector"
        yield (*place, key), str(error)


def _receivers(place: Path, named: Sequence[str], receivers: Collection[str]) -> Iterator[Finding]:
    for position, name in enumerate(named):
        if name in receivers:
            continue
        hint = nearest(name, receivers)
        meant = f"; did you mean {hint}?" if hint else ""
        known = choices(sorted(receivers)) if receivers else "(there are none: add it under receivers)"
        yield (*place, position), f"{show(name)} is no receiver{meant} {known}"
