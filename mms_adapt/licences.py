"""Which licence holds for what is made of several things, each with a licence of its own.

In: licences as they are written on model cards. Out: the strictest, or an error where nobody can tell. It
does not know adapters, and it is no lawyer: it knows the licences that models and corpora mostly have, by
their identifiers, and asks where it does not.
"""

import re
from collections.abc import Iterable

from mms_adapt.errors import OptionError

_FREE = ("cc0-1.0", "unlicense", "pddl", "public-domain")
_ATTRIBUTION = r"mit|apache-2\.0|bsd(-[23]-clause)?|isc|cc-by-[1-4]\.\d|odc-by"
_RANKS = (
    (0, "|".join(map(re.escape, _FREE))),
    (1, _ATTRIBUTION),
    (2, r"cc-by-sa-[1-4]\.\d|odbl"),
    (3, r"cc-by-nc-[1-4]\.\d"),
    (4, r"cc-by-nc-sa-[1-4]\.\d"),
)
_SHARE_ALIKE = {2, 4}


def strictest(licences: Iterable[str]) -> str:
    """Return the licence that holds for what is made of all of these; "" where none is known of any.

    Raises:
        OptionError: If they differ and one is not known, forbids what is derived from it, or two cannot be
            kept together.
    """
    written = sorted(set(licences))
    if len(written) < 2:
        return written[0] if written else ""
    ranks = {one: _rank(one) for one in written}
    told = " and ".join(one or "one that is not known" for one in written)
    if unknown := [one for one, rank in ranks.items() if rank is None]:
        raise OptionError(
            f"licences {told}: nobody knows which is the stricter, as {unknown[0] or 'an unknown one'} is "
            "none of those that are known here; say which one holds, with licence (--licence)"
        )
    found = max(written, key=lambda one: (ranks[one] or 0, one))
    alike = [one for one in written if ranks[one] in _SHARE_ALIKE]
    if alike and (len(alike) > 1 or found != alike[0]):
        raise OptionError(
            f"licences {told}: {alike[0]} asks that what is made of it is under {alike[0]} itself, and "
            "another one asks for something else; they cannot be kept together"
        )
    return found


def _rank(licence: str) -> int | None:
    """Return how strict a licence is; None where that is not known."""
    name = re.sub(r"[\s_]+", "-", licence.strip().casefold())
    return next((rank for rank, pattern in _RANKS if re.fullmatch(pattern, name)), None)
