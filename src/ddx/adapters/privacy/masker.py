"""All rules together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import chain

from ddx.adapters.privacy import addresses, names, numbers
from ddx.core.masking import Personal, Place, masked
from ddx.errors import MissingExtra, SettingsError


class PatternMasker:
    """A Mask by patterns. For several threads."""

    def __init__(self, regions: Sequence[str]) -> None:
        """`regions` are countries, `IN`, whose telephone numbers may lack the country's code.

        Raises MissingExtra, and SettingsError where a region is none. Loads nothing yet: the
        first text takes 0.1 s more.
        """
        if find_spec("phonenumbers") is None:
            raise MissingExtra(
                "privacy = \"mask\" needs phonenumbers: pip install 'ddx-server[privacy]'"
            )
        from phonenumbers import SUPPORTED_REGIONS

        for region in regions:
            if region not in SUPPORTED_REGIONS:
                raise SettingsError(
                    f"privacy_regions: {region!r} is no region; write two letters, as IN,US"
                )
        self._regions = tuple(regions)

    def __call__(self, text: str) -> tuple[str, Mapping[str, int]]:
        """Return the masked text and how often each kind was masked. Repeating changes nothing."""
        return masked(text, self.places(text))

    def places(self, text: str) -> list[Place]:
        """Return what would be masked; places may overlap."""
        found = chain(
            names.find(text), numbers.find(text), addresses.find(text), self._phones(text)
        )
        return [place for place in found if not _is_label(text, place)]

    def _phones(self, text: str) -> Iterator[Place]:
        from phonenumbers import PhoneNumberMatcher

        yield from numbers.labelled_phones(text)
        for region in self._regions:
            for match in PhoneNumberMatcher(text, region):
                yield Place(match.start, match.end, Personal.PHONE)


def _is_label(text: str, place: Place) -> bool:
    """Whether the place is one of our labels already."""
    found = text[place.start : place.end].strip()
    return found.startswith("[") and found.endswith("]")
