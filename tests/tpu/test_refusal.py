"""What a refusal means, from messages as Google Cloud and gcloud write them."""

import pytest

from tpu import refusal
from tpu.refusal import Kind

CREATE = "ERROR: (gcloud.compute.tpus.queued-resources.create) "


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (CREATE + "RESOURCE_EXHAUSTED: Quota limit 'TPUV4sPerProjectPerZone' has been exceeded.", Kind.QUOTA),
        (
            "Quota limit 'TPUV6EPreemptiblePerProjectPerRegionForTPUAPI' has been exceeded. Limit: 0",
            Kind.QUOTA,
        ),
        (CREATE + "PERMISSION_DENIED: Insufficient regional quota to satisfy request", Kind.QUOTA),
        (CREATE + 'There is no more capacity in the zone "europe-west4-a"; try another', Kind.CAPACITY),
        ("FAILED: RESOURCE_EXHAUSTED: Insufficient reserved capacity.", Kind.CAPACITY),
        ("The zone 'us-central1-a' does not have enough resources available", Kind.CAPACITY),
        (CREATE + "INVALID_ARGUMENT: Accelerator type v6e-24 is not known", Kind.INPUT),
        (CREATE + "NOT_FOUND: Runtime version x not found", Kind.INPUT),
        ("ERROR: (gcloud.compute.tpus) unrecognized arguments: --node", Kind.INPUT),
        ("ERROR: (gcloud.x) argument --zone: Must be specified.", Kind.INPUT),
        ("ERROR: (gcloud.x) Invalid value for [--node-count]: it must be greater than 1", Kind.INPUT),
        (CREATE + "HTTPError 400: no such thing", Kind.INPUT),
        (
            CREATE + "NOT_FOUND: no. This command is unauthenticated because the [x] property is True",
            Kind.INPUT,
        ),
        (
            CREATE + "ABORTED: no. This command is authenticated as me@x which is the active account",
            Kind.OTHER,
        ),
        (CREATE + "PERMISSION_DENIED: Permission 'tpu.nodes.create' denied on 'projects/x'", Kind.ACCESS),
        (CREATE + "PERMISSION_DENIED: Cloud TPU API has not been used in project 1 before", Kind.ACCESS),
        ("ERROR: (gcloud.x) PERMISSION_DENIED: no permission for the quota project p", Kind.ACCESS),
        ("ERROR: (gcloud.x) [me@x] does not have permission to access projects instance [p]", Kind.ACCESS),
        ("ERROR: (gcloud.x) You do not currently have an active account selected.", Kind.ACCESS),
        ("ERROR: (gcloud.x) The required property [project] is not currently set.", Kind.ACCESS),
        ("ERROR: (gcloud.x) FAILED_PRECONDITION: This API needs billing to be enabled", Kind.ACCESS),
        ("There was a problem refreshing your current auth tokens: invalid_grant", Kind.ACCESS),
        # As above, but for want of a network: it passes.
        (
            "There was a problem refreshing your current auth tokens: Max retries exceeded with url",
            Kind.OTHER,
        ),
        (CREATE + "UNAVAILABLE: the service is unavailable", Kind.OTHER),
        (CREATE + "ALREADY_EXISTS: Resource already exists", Kind.OTHER),
        (CREATE + "INTERNAL: an error", Kind.OTHER),
        ("no answer in time", Kind.OTHER),
        ("", Kind.OTHER),
    ],
)
def test_kind(reason, kind):
    assert refusal.kind(reason) is kind
    error = refusal.final(reason)
    assert type(error) is {Kind.INPUT: ValueError, Kind.ACCESS: OSError}.get(kind, type(None))
    assert error is None or (reason in str(error) and refusal.REMEDIES[kind] in str(error))
