"""Which licence holds for what is made of several things, each with a licence of its own.

In: licences as they are written on model cards. Out: the strictest, or an error where nobody can tell. It
does not know adapters, and it is no lawyer: it knows the licences that models and corpora mostly have, by
their identifiers, and asks where it does not.
"""

import re
from collections.abc import Iterable, Mapping

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
_NO_DERIVATIVES = r"cc-by(-nc)?-nd-[1-4]\.\d|all-rights-reserved"


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


def identifier(licence: str) -> str:
    """Return a licence as identifiers are written, such as "cc-by-nc-4.0" for "CC BY-NC 4.0"."""
    return re.sub(r"[\s_]+", "-", licence.strip().casefold())


def is_known(licence: str) -> bool:
    """Tell whether a licence is one of those whose strictness is known here."""
    return _rank(licence) is not None


def for_publication(held: Mapping[str, str], asked: str | None = None) -> str:
    """Return the licence under which something may be published, by its identifier where that is known.

    Args:
        held: Licences by what is under them: "backbone", "recordings"; "" where nobody knows.
        asked: The licence that the publisher says holds.

    Raises:
        OptionError: If one forbids it, none can be told, or the one that is asked for allows more than the
            others do.
    """
    names = {what: identifier(one) for what, one in held.items()}
    for what, name in names.items():
        if re.fullmatch(_NO_DERIVATIVES, name):
            raise OptionError(
                f"licence of the {what}: {held[what]} forbids that what is derived is passed on, so this may "
                "not be published"
            )
    known = {name for name in names.values() if is_known(name)}
    alone = len(set(names.values())) == 1 and "" not in names.values()
    unknown = [what for what, name in names.items() if not is_known(name)]
    if asked is None:
        if unknown and not alone:
            told = held[unknown[0]]
            raise OptionError(
                f"licence of the {unknown[0]}: "
                + (f"{told} is none of those that are known here" if told else "nobody noted it")
                + "; make sure under which licence this may be published, and say it with licence (--licence)"
            )
        return strictest(names.values())
    wanted = identifier(asked)
    if not is_known(wanted):
        if known:
            raise OptionError(
                f"licence {asked!r}: it is none of those that are known here, so nobody can tell whether it "
                f"allows more than {' and '.join(sorted(known))}, which holds, too; give a known one"
            )
        return asked.strip()
    strictest([*known, wanted])  # raises where they do not go together
    holds = strictest(known)
    if (_rank(holds) or 0) > (_rank(wanted) or 0):
        raise OptionError(f"licence {asked!r}: it allows more than {holds}, which holds, too; give {holds}")
    return wanted


def _rank(licence: str) -> int | None:
    """Return how strict a licence is; None where that is not known."""
    name = identifier(licence)
    return next((rank for rank, pattern in _RANKS if re.fullmatch(pattern, name)), None)
