"""The client door: MLflow's own client, with explicit run ids, for any tracking address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, takewhile
from operator import itemgetter
from typing import Any

from ddx.adapters.mlflow_runs import files
from ddx.adapters.mlflow_runs.experiment import Experiment, ensure, ensure_month, full_name, ours
from ddx.adapters.mlflow_runs.form import ID_TAG, TWIN_TAG, all_tags, found_draft, metric_ms, note
from ddx.adapters.mlflow_runs.library import connect, mlflow, translated
from ddx.core.partition import month_of
from ddx.core.record import PredictionId
from ddx.core.run_draft import EXPERIMENT, RunDraft
from ddx.errors import AnswerLost, DeliveryRefused, TrackerUnavailable
from ddx.ports import FoundRun, Seen

_PAGE = 1000
_SHARED_PREFIX = 10
"""Characters of ids that are looked for together: the same four seconds of a UUIDv7."""


class ClientRuns:
    """Runs over MLflow's client. Not for several threads."""

    door = "client"
    chooses_ids = False
    batch = 20
    """About a second's work: between batches the deliverer can be stopped."""

    def __init__(
        self,
        tracking_uri: str,
        artifacts_path: str | None,
        user: str,
        pages: str = "",
        folder: str = "",
        *,
        monthly: bool = False,
    ) -> None:
        """`artifacts_path` is where a new experiment keeps its files, in the layout of MLflow's
        server; None leaves that to the server. `user` is shown as the runs' user, `pages` is the
        address of our server, for links; `folder` is where experiments are, where their names are
        paths. `monthly`: an experiment for each month.
        Loads MLflow's client, in seconds. Raises MissingExtra.
        """
        mlflow()
        self._tracking_uri = tracking_uri
        self._user, self._pages = user, pages
        self._folder, self._name = folder, full_name(EXPERIMENT, folder)
        self._knows_patterns = True
        """Whether MLflow's search takes LIKE: asked of it by the first search."""
        self._made: Any = None
        self._artifacts_path = artifacts_path
        self._experiment_id = ""
        self._monthly = monthly
        self._known: frozenset[str] | None = None
        self._months: dict[str, str] = {}
        """Month -> experiment."""
        self._opened: tuple[str, str] = ("", "")
        """Run id and artifact URI of the run opened last, which saves asking for it."""

    def deliver(
        self, drafts: Sequence[RunDraft], known: Mapping[PredictionId, str]
    ) -> Mapping[PredictionId, DeliveryRefused | None]:
        """Not for this door: MLflow chooses the run ids."""
        raise NotImplementedError

    def open(self, draft: RunDraft) -> str:
        """Create the run and return its id; see ports.Runs."""
        experiment_id = self._experiment_for(draft)
        with self._asking("creating a run"):
            run = self._client.create_run(
                experiment_id,
                start_time=draft.start_ms,
                tags=all_tags(draft, self._user) | note(draft.prediction_id, self._pages),
                run_name=draft.prediction_id,
            )
        self._opened = (run.info.run_id, run.info.artifact_uri)
        return str(run.info.run_id)

    def fill(self, run_id: str, draft: RunDraft) -> None:
        """Give an existing run everything in its draft, its status last."""
        entities, moment = mlflow().entities, metric_ms(draft)
        files.store({self._artifact_uri(run_id): files.encoded(draft)}, self._tracking_uri)
        with self._asking("filling a run"):
            self._client.log_batch(
                run_id,
                params=[entities.Param(name, value) for name, value in draft.params.items()],
                metrics=[
                    entities.Metric(name, value, moment, 0) for name, value in draft.metrics.items()
                ],
                tags=[
                    entities.RunTag(name, value)
                    for name, value in all_tags(draft, self._user).items()
                ],
            )
            if draft.end_ms is None:
                # `set_terminated` would note the time of now as the end of the run.
                self._client.update_run(run_id, status=draft.status)
            else:
                self._client.set_terminated(run_id, draft.status, draft.end_ms)

    def look_for(self, ids: Iterable[PredictionId]) -> Mapping[PredictionId, tuple[Seen, ...]]:
        """Return the active runs tagged with each id, the one to keep first."""
        return {
            id: tuple(Seen(run_id=run.info.run_id, whole=_whole(run)) for run in runs)
            for id, runs in self._find(ids).items()
        }

    def all_ids(self) -> Iterator[PredictionId]:
        """Yield the prediction id of every active run of the experiment that has one."""
        for run in self._like("%"):
            id = run.data.tags.get(ID_TAG)
            if id:
                yield PredictionId(id)

    def discard(self, run_id: str) -> None:
        """Soft-delete a late twin."""
        with self._asking("deleting a twin"):
            self._client.set_tag(run_id, TWIN_TAG, "1")
            self._client.delete_run(run_id)

    def read(self, ids: Sequence[PredictionId]) -> Iterator[FoundRun]:
        """Read the active runs of these predictions back, with their artifacts."""
        for runs in self._find(ids).values():
            for run in runs:
                draft = found_draft(
                    status=run.info.status,
                    start_ms=run.info.start_time,
                    end_ms=run.info.end_time,
                    params=run.data.params,
                    metrics=run.data.metrics,
                    tags=run.data.tags,
                    files=files.load(run.info.artifact_uri, self._tracking_uri),
                )
                yield FoundRun(run_id=run.info.run_id, draft=draft)

    def close(self) -> None:
        """Nothing is held: MLflow keeps its connections for the process."""

    # --- the steps ----------------------------------------------------------------------

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = connect(self._tracking_uri)
        return self._made

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Translate errors. A refusal may only mean that the experiment is gone: it is brought
        back then, and TrackerUnavailable has the caller try again.
        """
        before = self._experiment_id
        try:
            with translated(doing):
                yield
        except DeliveryRefused as refused:
            self._experiment_id = ""
            self._months.clear()
            experiment = self._ensured()
            if experiment.restored or (before and experiment.id != before):
                raise TrackerUnavailable(f"{doing}: the experiment was deleted") from refused
            raise

    def _ensured(self) -> Experiment:
        experiment = ensure(self._client, self._artifacts_path, self._name)
        self._experiment_id = experiment.id
        if experiment.restored:
            # With the experiment, MLflow restores all its runs.
            for run in list(self._search(f"tags.`{TWIN_TAG}` = '1'")):
                self.discard(run.info.run_id)
        return experiment

    @property
    def _experiment(self) -> str:
        return self._experiment_id or self._ensured().id

    def _experiment_for(self, draft: RunDraft) -> str:
        if not self._monthly:
            return self._experiment
        month = month_of(draft.start_ms)
        if month not in self._months:
            found = ensure_month(self._client, self._artifacts_path, month, self._folder)
            self._months[month] = found.id
            self._experiment_id = ""
        return self._months[month]

    def _others(self) -> frozenset[str]:
        """Return all experiments of ours. Asked each time where another deliverer may make one."""
        if self._monthly or self._known is None:
            found = ours(self._client, self._folder)
            self._known = frozenset(str(one.experiment_id) for one in found)
        return self._known

    def _artifact_uri(self, run_id: str) -> str:
        if self._opened[0] == run_id:
            return self._opened[1]
        with self._asking("reading a run"):
            return str(self._client.get_run(run_id).info.artifact_uri)

    def _find(self, ids: Iterable[PredictionId]) -> dict[PredictionId, list[Any]]:
        found: dict[PredictionId, list[Any]] = {id: [] for id in ids}
        for prefix in _prefixes(sorted(found)):
            for run in self._like(f"{prefix}%", found):
                found.get(PredictionId(run.data.tags[ID_TAG]), []).append(run)
        for runs in found.values():
            runs.sort(key=lambda run: (not _whole(run), run.info.run_id))
        return {id: runs for id, runs in found.items() if runs}

    def _like(self, pattern: str, ids: Iterable[PredictionId] = ()) -> Iterator[Any]:
        """Yield the runs whose tag is like a pattern. Where MLflow knows no patterns: those of
        `ids` that begin so, one search for each, and without any every run.
        """
        if self._knows_patterns:
            try:
                yield from self._search(f"tags.`{ID_TAG}` LIKE '{pattern}'")
            except (DeliveryRefused, AnswerLost):
                # Services say it each in its own way. Where this fails too, it is no matter of
                # patterns; where it goes well, nothing but speed is lost.
                list(self._search(f"tags.`{ID_TAG}` = 'none'"))
                self._knows_patterns = False
            else:
                return
        begin = pattern.removesuffix("%")
        if not begin:
            yield from self._search("")
        for id in ids:
            if begin and id.startswith(begin):
                yield from self._search(f"tags.`{ID_TAG}` = '{id}'")

    def _search(self, filter_string: str) -> Iterator[Any]:
        ids = {self._experiment, *self._others()}
        token = None
        while True:
            with translated("searching runs"):
                page = self._client.search_runs(
                    sorted(ids),
                    filter_string=filter_string,
                    max_results=_PAGE,
                    page_token=token,
                )
            yield from page
            token = page.token
            if not token:
                return


def _whole(run: Any) -> bool:
    return bool(run.info.status not in ("RUNNING", "SCHEDULED"))


def _prefixes(ids: Sequence[str]) -> Iterator[str]:
    """Yield beginnings that cover these sorted ids and few others.

    MLflow's search knows no list of tag values; one search for each id takes 20 to 40 ms.

    >>> list(_prefixes(["019ab1c2-3000", "019ab1c2-3fff", "019ab1c2-4000"]))
    ['019ab1c2-3', '019ab1c2-4000']
    """
    pairs = zip(ids[0], ids[-1], strict=False) if ids else ()
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if shared >= _SHARED_PREFIX or len(ids) == 1:
        yield ids[0][:shared]
        return
    for _, group in groupby(ids, key=itemgetter(slice(shared + 1))):
        yield from _prefixes(list(group))
