# The service in one image; what a container is there for is its command (compose.yaml).
FROM python:3.12-slim-bookworm

RUN useradd --create-home --uid 10001 carts
WORKDIR /srv/carts
COPY requirements.txt ./
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY alembic.ini app.py run_abandoned_cart_polling.py pyproject.toml ./
COPY backend ./backend
COPY migrations ./migrations
COPY scripts ./scripts

USER carts
ENV PYTHONUNBUFFERED=1 LOG_FORMAT=json HOST=0.0.0.0
STOPSIGNAL SIGTERM
CMD ["python", "-m", "backend", "web"]
