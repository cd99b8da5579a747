"""Out of a journal, in parts that fit into memory; the next one while this one is sent.

Reading a record is processor time of ours, sending it mostly a wait for MLflow's database: side by
side they take as long as the longer of the two.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ddx.core.chain import Kind
from ddx.core.record import PredictionId
from ddx.core.run_draft import RunDraft, draft
from ddx.errors import Erased, JournalDamaged, PredictionNotFound
from ddx.ports import Event, JournalReader
from ddx.services.deliver.backlog import DELIVERED

BATCH_CHARS = 16 * 2**20
"""Characters of text held in memory at a time, and once more for the part that is read ahead."""


@dataclass(frozen=True, slots=True)
class Item:
    """One finished prediction of a journal, with its run."""

    seq: int
    draft: RunDraft
    again: bool = False
    """Its run may be there and lack what was said since: it is looked for, and filled again."""
    said: int = 0
    """How often somebody said something of it."""

    @property
    def id(self) -> PredictionId:
        """The prediction."""
        return self.draft.prediction_id


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event whose record cannot be read."""

    event: Event
    error_code: str


@dataclass(slots=True)
class Part:
    """Events of a journal, and what they finished."""

    events: Sequence[Event] = ()
    items: dict[PredictionId, Item] = field(default_factory=dict)
    """One draft of each: the later has all that was said."""
    unreadable: list[Unreadable] = field(default_factory=list)
    more: bool = False
    """Whether it ends before the journal does, as far as that was looked at."""


class Reading:
    """Reads parts of journals, and one part ahead."""

    def __init__(self, events: int) -> None:
        """`events` is how many of them a part has at most."""
        self._events = events
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._ahead: tuple[tuple[str, int], Future[Part]] | None = None

    def part(self, journal: JournalReader, after: int) -> Part:
        """Return the part above a sequence. Raises JournalUnavailable, JournalDamaged."""
        if self._ahead is not None:
            (journal_id, start), coming = self._ahead
            if (journal_id, start) == (journal.journal_id, after):
                self._ahead = None
                return coming.result()
            if journal_id == journal.journal_id:
                self.forget()
        return self._read(journal, after)

    def keep_to(self, journals: Collection[str]) -> None:
        """Drop what was read ahead of another journal than these."""
        if self._ahead is not None and self._ahead[0][0] not in journals:
            self.forget()

    def look_ahead(self, journal: JournalReader, after: int) -> None:
        """Begin to read the part above a sequence, if none is being read or kept."""
        if self._ahead is None:
            key = (journal.journal_id, after)
            self._ahead = (key, self._pool.submit(self._read, journal, after))

    def forget(self) -> None:
        """Drop what was read ahead: after a wait it would be old, and erased meanwhile."""
        if self._ahead is not None:
            self._ahead[1].exception()  # its reader may be closed next
            self._ahead = None

    def _read(self, journal: JournalReader, after: int) -> Part:
        part, size = Part(), 0
        events = journal.events(after, self._events)
        end = len(events)
        for number, event in enumerate(events, start=1):
            if event.kind not in DELIVERED:
                continue
            item = read(journal, event)
            if isinstance(item, Unreadable):
                part.unreadable.append(item)
            elif item is not None:
                part.items.pop(item.id, None)
                part.items[item.id] = item
                size += sum(map(len, item.draft.files.values()))
                if size >= BATCH_CHARS:
                    end = number
                    break
        part.events = events[:end]
        part.more = end < len(events) or len(events) == self._events
        return part


def read(journal: JournalReader, event: Event) -> Item | Unreadable | None:
    """Return what an event finished, or was said of; None where it is erased."""
    try:
        found = journal.predictions([event.prediction_id])
        if not found:
            return None
        said = journal.feedback_of(event.prediction_id)
    except Erased:
        return None
    except (JournalDamaged, PredictionNotFound) as error:
        return Unreadable(event, error.code)
    return Item(event.seq, draft(found[0], said), again=event.kind is Kind.FEEDBACK, said=len(said))
