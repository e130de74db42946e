"""What a request has to pass before anybody looks at its body."""

from __future__ import annotations

from dataclasses import dataclass

from adapter.http.semantics.cross_origin import CrossOrigin
from adapter.limits.api_keys import ApiKeys
from adapter.limits.rate_limit import Quota
from adapter.telemetry.audit import Audit


@dataclass(frozen=True)
class Gate:
    """Who may ask, how often, and who is told of refusals.

    `keys` and `quota` are None if they are off. `trusted_hops` is how many proxies in front are believed about the
    client's address. `origins` are None if no other origin may read answers in a browser.
    """

    keys: ApiKeys | None
    quota: Quota | None
    audit: Audit
    trusted_hops: int
    origins: CrossOrigin | None = None
