"""Writers turn hypotheses into the text of a file, one module a format.

Each module here exports `SUFFIX`, the file name's ending, and `render(hypotheses) -> str`, a pure function of
a sequence of `Hypothesis`. Formats that hold one recording (`ONE_RECORDING` is true) say so when they are
given more. Adding a format is adding a module; `mms_adapt.plugins` finds it by its name.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mms_adapt.errors import OptionError

if TYPE_CHECKING:
    from mms_adapt.decoders import Hypothesis


def only(hypotheses: "Sequence[Hypothesis]", suffix: str) -> "Hypothesis":
    """Return the one hypothesis that a format of one recording can hold.

    Raises:
        OptionError: If there are none or several.
    """
    if len(hypotheses) != 1:
        raise OptionError(
            f"a {suffix} file holds one recording and {len(hypotheses)} were given: write one file for each"
        )
    return hypotheses[0]
