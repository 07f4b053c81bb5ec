"""The one door for outbound HTTP: total deadline, capped bodies, guarded addresses, no redirects, no cookies."""

from __future__ import annotations

from backend.outbound.client import Outbound
from backend.outbound.guard import Lookup
from backend.outbound.messages import HttpRequest, HttpResponse, Sends, retry_after
from backend.outbound.policy import OutboundPolicy
from backend.outbound.urls import legal_url, redacted_url, wire_url

__all__ = [
    "HttpRequest",
    "HttpResponse",
    "Lookup",
    "Outbound",
    "OutboundPolicy",
    "Sends",
    "legal_url",
    "redacted_url",
    "retry_after",
    "wire_url",
]
