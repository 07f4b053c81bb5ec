"""The name under which Celery finds its app in the shorter commands: `celery -A app.celery worker` and `beat`."""

from backend.celery_app import app as celery

__all__ = ["celery"]
