"""The one table of errors → status and code, free of the web."""

from __future__ import annotations

from collections.abc import Mapping

from adapter import errors

# The most specific class wins; a test fails on a class of adapter.errors that has no row here.
STATUS_OF: Mapping[type[errors.AdapterError], tuple[int, str]] = {
    errors.MalformedRequest: (400, "malformed_request"),
    errors.HeadTooLarge: (431, "head_too_large"),
    errors.SlowRequest: (408, "slow_request"),
    errors.MalformedJson: (400, "malformed_json"),
    errors.BadHeader: (400, "bad_header"),
    errors.BadQuery: (400, "bad_query"),
    errors.BadTensor: (400, "bad_tensor"),
    errors.Unauthenticated: (401, "unauthenticated"),
    errors.Forbidden: (403, "forbidden"),
    errors.SchemaMismatch: (400, "bad_columns"),
    errors.UnknownModel: (404, "unknown_model"),
    errors.EndpointOff: (404, "endpoint_off"),
    errors.BodyTooLarge: (413, "body_too_large"),
    errors.UnsupportedMedia: (415, "unsupported_media_type"),
    errors.BadFeatures: (422, "bad_features"),
    errors.AlreadyBatched: (422, "already_batched"),
    errors.QuotaExceeded: (429, "quota_exceeded"),
    errors.ModelFailed: (500, "model_error"),
    errors.UpstreamRefused: (500, "internal_error"),
    errors.BadModelOutput: (502, "bad_model_output"),
    errors.Overloaded: (503, "overloaded"),
    errors.QueueFull: (503, "queue_full"),
    errors.ModelUnavailable: (503, "model_unavailable"),
    errors.ModelProcessDead: (503, "model_process_dead"),
    errors.UpstreamDown: (503, "upstream_down"),
    errors.BreakerOpen: (503, "breaker_open"),
    errors.Draining: (503, "draining"),
    errors.DeadlineExceeded: (504, "deadline_exceeded"),
}

# Every code with its status, 200 first; each once.
CODES: tuple[tuple[int, str], ...] = tuple(dict.fromkeys([(200, "ok"), *STATUS_OF.values(), (499, "client_left")]))
