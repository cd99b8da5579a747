"""Names of terms, found in a text by their words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ddx.adapters.knowledge.lexicon import BLOCKED, EXTRA, SILENT
from ddx.adapters.knowledge.model import PHENOTYPE, Synonym, Term
from ddx.adapters.knowledge.words import Word, words

GAP = 2
"""Most words, silent ones aside, that may stand among those of a phrase."""
_JOINING = frozenset({"and", "or", "with", "but", "plus", "no", "not", "without", "denie"})
"""Between these words are two things: a phrase spans them only if it holds one itself."""
_DENYING = frozenset({"no", "not", "without", "absent", "absence", "lack"})
_STOP = re.compile(r"[;:!?()\[\]]|\.(?=\s|$)|\n\s*(?:\n|[-*\u2022])")
_NAME, _EXACT, _OTHER = 0, 1, 2


@dataclass(frozen=True, slots=True, order=True)
class Match:
    """A term's name in a text."""

    start: int
    """Characters, as in `text[start:end]`."""
    end: int
    term: int
    """Row of the term."""
    size: int
    """Words of the phrase."""
    rank: int
    """0 for the term's own name, 1 for an exact synonym, 2 for another."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """All phrases, as columns, and the words they are made of."""

    vocabulary: dict[str, int]
    pointers: Any
    """Phrase -> its stretch of `tokens`."""
    tokens: Any
    sizes: Any
    """How many words each phrase has."""
    word_pointers: Any
    """Word -> its stretch of `word_phrases`."""
    word_phrases: Any
    """The phrases that hold the word."""
    terms: Any
    ranks: Any
    joined: Any
    """The phrase itself holds a joining word."""
    denying: Any
    """It holds a 'no': its words stand side by side, or it would be another's denial."""
    capitals: Any
    """An abbreviation: only in capitals."""

    @classmethod
    def of(cls, arrays: Mapping[str, Any], vocabulary: Sequence[str]) -> Phrases:
        """Return the phrases that `phrase_arrays` made."""
        return cls(
            vocabulary={word: at for at, word in enumerate(vocabulary)},
            pointers=arrays["phrase_ptr"],
            tokens=arrays["phrase_token"],
            sizes=np.diff(arrays["phrase_ptr"]),
            word_pointers=arrays["word_ptr"].tolist(),
            word_phrases=arrays["word_phrase"],
            terms=arrays["phrase_term"],
            ranks=arrays["phrase_rank"],
            joined=arrays["phrase_joined"],
            denying=arrays["phrase_denying"],
            capitals=arrays["phrase_capitals"],
        )

    def find(self, text: str, found: Sequence[Word]) -> list[Match]:
        """Return every match, overlapping ones included; `found` are the text's words."""
        places: dict[int, list[int]] = {}
        for place, word in enumerate(found):
            token = self.vocabulary.get(word.stem)
            if token is not None:
                places.setdefault(token, []).append(place)
        if not places:
            return []
        holding = [self._holding(token) for token in places]
        met = np.bincount(np.concatenate(holding), minlength=len(self.terms))
        breaks = _Breaks(text, found)
        return [
            match
            for phrase in np.flatnonzero(met == self.sizes).tolist()
            for match in self._places(phrase, places, breaks, found)
        ]

    def _holding(self, token: int) -> Any:
        return self.word_phrases[self.word_pointers[token] : self.word_pointers[token + 1]]

    def _places(
        self,
        phrase: int,
        places: dict[int, list[int]],
        breaks: _Breaks,
        found: Sequence[Word],
    ) -> Iterator[Match]:
        stretch = self.tokens[self.pointers[phrase] : self.pointers[phrase + 1]].tolist()
        occurrences = sorted((places[token] for token in stretch), key=len)
        size, joined = len(stretch), bool(self.joined[phrase])
        for anchor in occurrences[0]:
            reach = breaks.reach(anchor)
            near = [[at for at in others if at in reach] for others in occurrences[1:]]
            if not all(near):
                continue
            chosen = [anchor, *(min(at, key=lambda p: abs(p - anchor)) for at in near)]
            first, last = min(chosen), max(chosen)
            gap = 0 if self.denying[phrase] else GAP
            if size > 1 and not breaks.allow(first, last, size + gap, joined=joined):
                continue
            if self.capitals[phrase] and not all(found[at].raw.isupper() for at in chosen):
                continue
            yield Match(
                found[first].start,
                found[last].end,
                int(self.terms[phrase]),
                size,
                int(self.ranks[phrase]),
            )


def longest(matches: Iterable[Match]) -> list[Match]:
    """Keep, of matches that overlap, the one that says most; in order of the text."""
    kept: list[Match] = []
    ranked = sorted(matches, key=lambda m: (-m.size, m.end - m.start, m.rank, m.start, m.term))
    for match in ranked:
        if all(match.end <= other.start or other.end <= match.start for other in kept):
            kept.append(match)
    return sorted(kept)


def phrase_arrays(terms: Iterable[Term]) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of `Phrases`, for terms in the order of their rows, and the words."""
    best: dict[tuple[frozenset[str], bool], tuple[int, int, bool]] = {}
    for row, term in enumerate(terms):
        if PHENOTYPE in (term.id, *term.parents):
            continue  # "Abnormality of the nervous system" is a heading, not a finding.
        for text, rank, capitals in _names(term):
            cut = [word.stem for word in words(text) if word.stem not in SILENT]
            stems = frozenset(stem for stem in cut if stem not in _LINKS)
            if not _usable(text, stems, capitals=capitals):
                continue
            joined = bool(_JOINING.intersection(cut)) or "," in text
            known = best.get((stems, capitals))
            # One set of words is one term: its own name before a synonym of another.
            if known is None or rank < known[0]:
                best[stems, capitals] = (rank, row, joined)
    vocabulary = sorted({stem for stems, _ in best for stem in stems})
    numbered = {stem: place for place, stem in enumerate(vocabulary)}
    ordered = sorted(best.items(), key=lambda item: (item[1][1], sorted(item[0][0])))
    lengths = [len(stems) for (stems, _), _ in ordered]
    tokens = np.array([numbered[s] for (stems, _), _ in ordered for s in sorted(stems)], np.int32)
    holding = np.repeat(np.arange(len(lengths)), lengths)[np.argsort(tokens, kind="stable")]
    uses = np.bincount(tokens, minlength=len(vocabulary))
    return {
        "phrase_ptr": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        "phrase_token": tokens,
        "word_ptr": np.concatenate([[0], np.cumsum(uses)]).astype(np.int32),
        "word_phrase": holding.astype(np.int32),
        "phrase_term": np.array([row for _, (_, row, _) in ordered], np.int32),
        "phrase_rank": np.array([rank for _, (rank, _, _) in ordered], np.uint8),
        "phrase_denying": np.array(
            [not _DENYING.isdisjoint(stems) for (stems, _), _ in ordered], np.bool_
        ),
        "phrase_joined": np.array([joined for _, (_, _, joined) in ordered], np.bool_),
        "phrase_capitals": np.array([capitals for (_, capitals), _ in ordered], np.bool_),
    }, vocabulary


_LINKS = frozenset({"and", "or", "with"})
"""In a phrase they only join: the text may leave them out."""


def _names(term: Term) -> Iterator[tuple[str, int, bool]]:
    """Each way to say a term: the text, its rank, whether only in capitals."""
    yield term.name, _NAME, False
    for text in EXTRA.get(term.id, ()):
        yield text, _EXACT, False
    for synonym in term.synonyms:
        # A broad synonym says less than the term: who has a "lump" has no lipoma.
        if synonym.scope != "BROAD" and synonym.kind != "obsolete_synonym":
            yield synonym.text, _rank(synonym), _is_abbreviation(synonym)


def _rank(synonym: Synonym) -> int:
    return _EXACT if synonym.scope == "EXACT" else _OTHER


def _is_abbreviation(synonym: Synonym) -> bool:
    short = synonym.text.isupper() and " " not in synonym.text and len(synonym.text) <= 5
    return synonym.kind == "abbreviation" or short


def _usable(text: str, stems: frozenset[str], *, capitals: bool) -> bool:
    if not stems or len(text) < 3 or all(stem.isdigit() for stem in stems):
        return False
    # An abbreviation of two letters means another thing in each ward.
    if capitals:
        return len(text) >= 3
    return not stems <= BLOCKED if len(stems) == 1 else True


class _Breaks:
    """Where in a text a phrase may not go on."""

    def __init__(self, text: str, found: Sequence[Word]) -> None:
        """Count, up to each word, the joints and the words that are not silent."""
        self._soft, self._said = [0], [0]
        self._sentence: list[range] = []
        first = previous = 0
        for place, word in enumerate(found):
            between = text[previous : word.start]
            if _STOP.search(between):
                self._sentence += [range(first, place)] * (place - first)
                first = place
            self._soft.append(self._soft[-1] + ("," in between or "/" in between))
            self._soft[-1] += word.stem in _JOINING
            self._said.append(self._said[-1] + (word.stem not in SILENT))
            previous = word.end
        self._sentence += [range(first, len(found))] * (len(found) - first)

    def reach(self, place: int) -> range:
        """Return the places of the sentence in which a word stands."""
        return self._sentence[place]

    def allow(self, first: int, last: int, size: int, *, joined: bool) -> bool:
        """Whether a phrase may reach over `size` words from place `first` to `last`."""
        joints = self._soft[last + 1] - self._soft[first + 1]
        if joints and not joined:
            return False
        # Silent words are free, within reason: "pain in his upper abdomen".
        if last - first >= size + GAP + joints:
            return False
        return self._said[last + 1] - self._said[first] <= size + joints
