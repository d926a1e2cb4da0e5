"""What a refusal of Google Cloud means: whether asking again can help, and what to do where it cannot."""

import re
from enum import Enum


class Kind(Enum):
    """Kinds of refusals; the value of those that are asked again names their budget."""

    QUOTA = "quota_refusals"
    CAPACITY = "capacity_refusals"
    OTHER = "refusals"
    INPUT = "bad input"
    ACCESS = "no access"


REMEDIES = {
    Kind.INPUT: "asking again cannot help: mend --accelerator, --zone, --runtime-version or --project; "
    "gcloud compute tpus accelerator-types list --zone=ZONE lists what a zone has",
    Kind.ACCESS: "asking again cannot help: gcloud auth login, --project, the role roles/tpu.admin, billing, "
    "gcloud services enable tpu.googleapis.com",
}
"""What to do about the kinds that are final."""

PATTERNS = (
    # No network, whatever gcloud calls it: it does so for a token that it cannot refresh, too.
    (
        Kind.OTHER,
        r"max retries|timed? ?out|connection (reset|refused|aborted|error)|name resolution|unreachable|"
        r"unable to find the server|ssl(eof)?error|you are offline|\b(?-i:UNAVAILABLE)\b",
    ),
    (
        Kind.QUOTA,
        r"quota (limit|metric|'|exceeded)|quota_exceeded|insufficient (\w+ )?quota|"
        r"exceed(s|ed|ing)? (\w+ ){0,3}quota",
    ),
    (
        Kind.CAPACITY,
        r"no (more )?capacity|insufficient (\w+ )?capacity|out of capacity|stockout|pool_exhausted|"
        r"not (have )?enough resources|\b(?-i:RESOURCE_EXHAUSTED)\b|HTTPError 429",
    ),
    (
        Kind.ACCESS,
        r"\b(?-i:PERMISSION_DENIED|UNAUTHENTICATED)\b|HTTPError 40[13]\b|not have permission|"
        r"active account selected|"
        r"auth tokens|reauthenticat|billing|SERVICE_DISABLED|has not been used in project|"
        r"property \[(core/)?project\]|required '[\w.]+' permission",
    ),
    (
        Kind.INPUT,
        r"\b(?-i:INVALID_ARGUMENT|NOT_FOUND|OUT_OF_RANGE|UNIMPLEMENTED)\b|HTTPError 40[04]\b|\] not found|"
        r"the resource '\S+' was not found|"
        r"unrecognized arguments|argument \S+: |(invalid|unknown) value for|invalid choice|"
        r"missing required argument|failed to parse",
    ),
)
"""From the first that is found. Google's messages come with or without the status's name: quota and capacity
are told by their words first, as some come as PERMISSION_DENIED or with no name at all. Names are in capitals
only: gcloud ends many a message with a word on how it is, or is not, authenticated."""
STATUSES = {
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    16: "UNAUTHENTICATED",
}
"""Names of the numbers of google.rpc.Code that say something here."""


def kind(reason: str) -> Kind:
    """The kind of a refusal, from Google Cloud's or gcloud's last line about it."""
    for found, pattern in PATTERNS:
        if re.search(pattern, reason, re.IGNORECASE):
            return found
    return Kind.OTHER


def final(reason: str) -> OSError | ValueError | None:
    """The error that ends the launcher, where asking again cannot help: `ValueError` for bad input."""
    found = kind(reason)
    if found not in REMEDIES:
        return None
    error = ValueError if found is Kind.INPUT else OSError
    return error(f"{' '.join(reason.split())}; {REMEDIES[found]}")
