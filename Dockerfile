# Relay in a virtual environment and nothing besides: no compiler, no pip cache, no tests. The Python is the one the
# tests run with.
FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/relay
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY relay ./relay
RUN /opt/relay/bin/pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt '.[postgres]'

FROM python:3.11-slim
RUN groupadd --system --gid 10001 relay \
    && useradd --system --uid 10001 --gid relay --home-dir /data --no-create-home --shell /usr/sbin/nologin relay \
    && install --directory --owner=relay --group=relay --mode=0700 /data
COPY --from=build /opt/relay /opt/relay
# Commands run beside the server find its configuration by themselves.
ENV PATH=/opt/relay/bin:$PATH RELAY_CONFIG=/data/config.yaml
USER relay
WORKDIR /data
# config.yaml, master.key, the database, the self-signed certificate.
VOLUME /data
# The ports that `relay init` writes: SMTP with STARTTLS, SMTP with TLS from the start, HTTP.
EXPOSE 587 465 8080
# Needs `http` without TLS on port 8080, at 127.0.0.1 or every address. Otherwise: --no-healthcheck, or one of your own.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["relay", "serve", "--config", "/data/config.yaml"]
