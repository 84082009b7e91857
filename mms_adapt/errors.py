"""What can go wrong, as one tree.

Every message says what is wrong, which value, where it stands and what to do about it.

    MmsAdaptError
    ├── OptionError            an option that a caller gave
    ├── LanguageError          a language code
    ├── CorpusError            a folder of recordings and transcripts
    │   ├── ManifestError      a line of a manifest
    │   └── AudioError         a recording
    ├── TextError              a transcript or a normaliser
    ├── VocabError             a vocabulary, or a character outside it
    ├── SplitError             the division into train, dev and test
    ├── PreparedError          a folder that `prepare` wrote
    ├── BackboneError          the pre-trained model
    ├── AdapterError           an adapter folder
    │   ├── AdapterMismatchError   made for another backbone, language or vocabulary
    │   │   └── SiblingError   made for an earlier or later state of the same backbone
    │   └── RegistryError      a folder of adapters
    ├── TrainingError          training cannot start or go on
    │   └── ResumeError        a checkpoint that does not belong to this run
    └── ScoringError           references and hypotheses

In: nothing. It does not know the rest of the package.
"""


class MmsAdaptError(Exception):
    """Anything that a user of mms_adapt can put right; its text is the whole message."""


class OptionError(MmsAdaptError):
    """An option has a value that makes no sense."""


class LanguageError(MmsAdaptError):
    """A language code is none, or is not the one that is wanted."""


class CorpusError(MmsAdaptError):
    """A folder of recordings and transcripts is not what was expected."""


class ManifestError(CorpusError):
    """A line of a manifest cannot be read."""


class AudioError(CorpusError):
    """A recording cannot be read, or holds no sound that could be used."""


class TextError(MmsAdaptError):
    """A transcript or a normaliser is not what was expected."""


class VocabError(MmsAdaptError):
    """A vocabulary is not whole, or does not hold a character that is needed."""


class SplitError(MmsAdaptError):
    """The division into train, dev and test cannot be made or is empty."""


class PreparedError(MmsAdaptError):
    """A folder of prepared data is missing, not whole or already there."""


class BackboneError(MmsAdaptError):
    """The pre-trained model cannot be loaded or used."""


class AdapterError(MmsAdaptError):
    """An adapter folder is missing, not whole or damaged."""


class AdapterMismatchError(AdapterError):
    """An adapter is whole but was made for another backbone, language or vocabulary."""


class SiblingError(AdapterMismatchError):
    """An adapter was made for an earlier or later state of the backbone; a user may go on all the same."""


class RegistryError(AdapterError):
    """A registry does not hold what was asked for."""


class TrainingError(MmsAdaptError):
    """Training cannot start or go on."""


class ResumeError(TrainingError):
    """A checkpoint belongs to another run: other data, vocabulary, backbone or options."""


class ScoringError(MmsAdaptError):
    """References and hypotheses cannot be compared."""
