"""The upload of a folder to the Hugging Face hub.

In: a folder and the name of a repository. Out: where it is now. The client keeps the user's token; it is
neither read nor shown here. Nothing else of the package sends anything.
"""

import re
from pathlib import Path
from typing import Any

from mms_adapt.errors import AdapterError, OptionError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def check_name(repo_id: str) -> str:
    """Return the name of a repository, if it is one.

    Raises:
        OptionError: If it is not of the form owner/name.
    """
    if not _NAME.fullmatch(repo_id) or ".." in repo_id or "--" in repo_id:
        raise OptionError(f"repo_id={repo_id!r}: write OWNER/NAME, such as my-team/mms-mdw")
    return repo_id


def push(folder: Path, repo_id: str, *, private: bool = False, api: Any = None) -> str:
    """Upload a folder to a repository, which is made where it is not there.

    Args:
        folder: The folder.
        repo_id: OWNER/NAME.
        private: Whether a new repository is private.
        api: What has `create_repo` and `upload_folder` as `huggingface_hub.HfApi` has; that where not given.

    Returns:
        The repository's address.

    Raises:
        AdapterError: If the hub, the network or the client refuses; the folder stays.
    """
    try:
        if api is None:
            from huggingface_hub import HfApi

            api = HfApi()
        address = api.create_repo(check_name(repo_id), private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repo_id, folder_path=str(folder), commit_message="Adapter, model card and passport"
        )
    except OptionError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise AdapterError(
            f"{folder} is written, but could not be uploaded to {repo_id}: {reason}. Are you logged in "
            f"(hf auth login), may you write there, and is there a network? Then: "
            f"hf upload {repo_id} {folder}"
        ) from error
    return str(address)
