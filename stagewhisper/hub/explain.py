"""Whatever goes wrong while fetching → a `HubError` that names the cause and the remedy."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from stagewhisper.errors import HubError
from stagewhisper.hub.known import EMBEDDED
from stagewhisper.hub.names import Wanted


@contextmanager
def as_hub_errors(wanted: Wanted, endpoint: str) -> Iterator[None]:
    """A scope that only `HubError` leaves, whatever the libraries inside raise."""
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        raise HubError(f"Cannot fetch the {wanted} from {endpoint}: {_reason(error, wanted, endpoint)}") from error


def other_ways(wanted: Wanted) -> str:
    """What to do where the hub cannot be reached: bring the model, or take the embedded one."""
    return (
        f"To get the model, run `stagewhisper models path {wanted.name}` on a machine with a network, copy the folder "
        f"that it prints (`cp -rL`) and give it with `--model FOLDER`. The embedded model works now: "
        f"`--model {EMBEDDED}`."
    )


def _reason(error: Exception, wanted: Wanted, endpoint: str) -> str:
    for link in _chain(error):
        reason = _http_reason(link, wanted, endpoint) or _disk_reason(link)
        if reason is not None:
            return reason
    return f"{type(error).__name__}: {error}. Run it again. {other_ways(wanted)}"


def _http_reason(error: BaseException, wanted: Wanted, endpoint: str) -> str | None:
    from huggingface_hub import errors

    # The HTTP library's root of all errors: httpx's, or httpx2's since huggingface_hub 2.0.
    transport: type[BaseException] = errors.HfHubHTTPError.__bases__[0]
    page = f"{endpoint}/{wanted.repository}"
    if isinstance(error, errors.GatedRepoError):
        return f"its owner asks for consent first. Accept the terms at {page} and log in with `hf auth login`."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {wanted.revision!r}. The revisions are listed at {page}/commits."
    if isinstance(error, errors.RepositoryNotFoundError):
        return "there is no such repository, or it is private. Check the name, or log in with `hf auth login`."
    if isinstance(error, errors.HfHubHTTPError):
        return _status_reason(error.response.status_code, wanted)
    if isinstance(error, transport):
        what = str(error) or type(error).__name__
        return f"the hub cannot be reached ({what}). Check the network and the proxy. {other_ways(wanted)}"
    return None


def _status_reason(status: int, wanted: Wanted) -> str:
    remedies = {
        401: "it refused the access token. Log in with `hf auth login`.",
        403: "access is forbidden. Give an access token that may read this repository: `hf auth login`.",
        404: "the hub does not know this address. Check the name and the endpoint.",
        429: "too many requests came from here. Wait some minutes and run it again.",
    }
    trouble = f"the hub is in trouble. Run it again later. {other_ways(wanted)}"
    return f"{remedies.get(status, trouble)} (HTTP status {status})"


def _disk_reason(error: BaseException) -> str | None:
    code = error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. Free some space, or set HF_HUB_CACHE to a folder on a larger disk."
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the model cache cannot be written. Check its permissions, or set HF_HUB_CACHE to another folder."
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return "the transfer broke off before the end. Run it again: what is complete is kept."
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
