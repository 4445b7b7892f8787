ARG BASE=python:3.13-slim

# The wheel, and the environment with everything at its locked version.
FROM ${BASE} AS build
WORKDIR /src
RUN ["python", "-m", "venv", "/opt/build"]
COPY requirements-run.lock ./
RUN ["/opt/build/bin/python", "-m", "pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements-run.lock"]
RUN ["python", "-m", "venv", "/opt/jtd-worker"]
COPY requirements.lock ./
RUN ["/opt/jtd-worker/bin/python", "-m", "pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY jtd_worker ./jtd_worker
COPY sql ./sql
RUN ["/opt/build/bin/python", "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "/wheel", "."]
RUN ["/opt/jtd-worker/bin/python", "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--no-index", "--find-links", "/wheel", "jtd-worker"]

FROM ${BASE}
COPY --from=build /opt/jtd-worker /opt/jtd-worker
ENV PATH=/opt/jtd-worker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    JTD_HTTP=0.0.0.0:8080 \
    JTD_LOG_FORMAT=json
# Without a name, so that nothing of the base needs to know the user; it owns no file.
USER 10001:10001
WORKDIR /
EXPOSE 8080
# The worker drains first (JTD_DRAIN_SECONDS, 25): let the grace period of whoever stops it be longer.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
ENTRYPOINT ["jtd-worker"]
CMD ["run"]
