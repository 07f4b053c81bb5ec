"""Use cases, one file each: the only place where steps are put in order.

The four classes below are the public vocabulary; routers, runner and lanes go through them.
"""

from backend.services.abandoned_carts import AbandonedCartAgentService
from backend.services.agent_integrations import AgentIntegrationService
from backend.services.integrations import IntegrationService
from backend.services.poller import AgentIntegrationPoller

__all__ = [
    "AbandonedCartAgentService",
    "AgentIntegrationPoller",
    "AgentIntegrationService",
    "IntegrationService",
]
