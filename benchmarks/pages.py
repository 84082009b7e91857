"""Tables put into pages, between marks that name them.

In: a page with lines `<!-- table: NAME -->` and `<!-- end -->`, and tables by name. Out: the page. It does
not know what a table tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


def filled(page: str, tables: Mapping[str, str]) -> str:
    """Return a page with what stood between its marks replaced.

    Args:
        page: The page's text.
        tables: Lines by the name that their mark has.

    Raises:
        KeyError: If a mark names a table that is not there.
    """

    def replaced(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{tables[found[2]].strip()}\n\n<!-- end -->"

    return re.sub(r"(<!-- table: ([^>]+?) -->)\n.*?<!-- end -->", replaced, page, flags=re.DOTALL)
