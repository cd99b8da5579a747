"""How well the words of a case fit the words about each disease: BM25.

The words about a disease are the names of its findings, its own names, and the texts of a pack
where there is one. Source: Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ddx.adapters.knowledge.index import Index
from ddx.adapters.knowledge.words import stem, words

K1 = 1.2
B = 0.75
COMMON = 0.2
"""Words that more than this share of the documents have say nothing, and would cost most."""

HALF = 20
"""With so many words that say something, half of their weight counts: of the few words of a short
case, one that happens to stand in the text about a disease would outweigh its findings."""
_TELLING = """
one two three four five six seven eight nine ten first second third hour day week month year
old age ago last since now then today yesterday time often man woman male female boy girl
child baby he she his her him they them their patient person people feel feels felt feeling
unwell well good bad very some any more most also has have had been was were is are be being
with without and or of the a an in on at to for from by as that this which who it its not no
there come comes came present presents presented presenting complain complains complaint
history report reports reported
"""
_NOTHING = frozenset(map(stem, _TELLING.split()))
"""Words of time, of number and of telling: they say nothing of a disease."""


def word_arrays(
    documents: Sequence[Iterable[str]], others: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return the postings of the words, and the words in their order.

    `text_weight` is all that BM25 gives a document for a word, so that a question is a sum.
    `others` are texts that cannot be found: they only tell how rare each word is.
    """
    counts = [Counter(_stems(texts)) for texts in documents]
    lengths = np.array([one.total() for one in counts], np.float64)
    found_in = Counter(word for one in counts for word in one)
    length = float(lengths.sum())
    for text in others:
        said = Counter(_stems([text]))
        found_in.update(said.keys())
        length += said.total()
    number = len(counts) + len(others)
    mean = max(length / max(number, 1), 1.0)
    postings: dict[str, list[tuple[int, int]]] = {}
    for place, one in enumerate(counts):
        for word, count in one.items():
            postings.setdefault(word, []).append((place, count))
    most = max(1.0, COMMON * len(counts))
    kept = sorted(word for word, found in postings.items() if len(found) <= most)
    sizes = [len(postings[word]) for word in kept]
    pairs = np.array([pair for word in kept for pair in postings[word]], np.int64).reshape(-1, 2)
    rare = [math.log(1 + (number - found_in[word] + 0.5) / (found_in[word] + 0.5)) for word in kept]
    often = pairs[:, 1].astype(np.float64)
    norm = K1 * (1 - B + B * lengths[pairs[:, 0]] / mean)
    weights = np.repeat(rare, sizes) * often * (K1 + 1) / (often + norm)
    arrays = {
        "text_ptr": np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        "text_document": pairs[:, 0].astype(np.int32),
        "text_weight": weights.astype(np.float32),
    }
    return arrays, kept


class TextSignal:
    """Compares texts with the words about each disease. Safe in threads: it only reads."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._rows = {word: row for row, word in enumerate(index.strings["text_words"])}

    def standing(self, text: str) -> Any | None:
        """Return how far above the mean each disease stands, in standard deviations, the less the
        fewer words there are.

        None where no word of the text says anything.
        """
        arrays = self._index.arrays
        scores = np.zeros(self._index.n_diseases, np.float32)
        said = 0
        for word in set(_stems([text])):
            row = self._rows.get(word)
            if row is not None:
                said += 1
                stretch = slice(*arrays["text_ptr"][row : row + 2])
                # A word has one posting in each document: nothing is added twice here.
                scores[arrays["text_document"][stretch]] += arrays["text_weight"][stretch]
        spread = float(scores.std())
        return (scores - scores.mean()) * (said / (said + HALF) / spread) if spread else None


def _stems(texts: Iterable[str]) -> list[str]:
    return [
        word.stem
        for text in texts
        for word in words(text)
        if word.stem not in _NOTHING and not word.stem.isdigit()
    ]
