"""Protocol-faithful HTTP servers that stand in for shop systems and partners, with faults on request.

They run on loopback only, in the tests and in the demo, and are never imported by `backend`.
"""
