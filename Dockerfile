# Warren: worker, command and simulator in one image, for BuildKit or podman.
#
#   docker build -t warren:0.1.0 .
#   docker run --rm warren:0.1.0 --help                                  the command
#   docker run --rm --entrypoint python warren:0.1.0 -m simulator --help the stand-in API
#
# It needs no writable root filesystem: only /var/lib/warren (the ledger) is written to.

FROM python:3.13.13-slim-trixie AS base


FROM base AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# The locks alone first: while they stay, a change of the code rebuilds no package.
COPY requirements/build.lock requirements/worker.lock requirements/
RUN python -m venv --without-pip /opt/warren \
    && python -m pip --python /opt/warren/bin/python install \
        --no-deps --require-hashes --only-binary :all: -r requirements/worker.lock \
    && python -m pip install \
        --no-deps --require-hashes --only-binary :all: -r requirements/build.lock

COPY pyproject.toml README.md LICENSE ./
COPY producer_sdk producer_sdk
COPY worker worker
COPY simulator simulator
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && python -m pip --python /opt/warren/bin/python install --no-deps --no-index /wheels/*.whl


FROM base AS warren
LABEL org.opencontainers.image.title="Warren" \
      org.opencontainers.image.description="A durable queue in front of LLM APIs: worker, command and simulator" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13.13-slim-trixie"

# A fixed id, so that volumes and security policies can name it; a folder for the ledger that a fresh named
# volume takes its owner from; and no installer in what runs.
RUN groupadd --gid 10001 warren \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/warren --shell /usr/sbin/nologin warren \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/warren \
    && python -m pip uninstall --yes pip
COPY --from=build /opt/warren /opt/warren
COPY docker/healthcheck.py /opt/warren/healthcheck.py

ENV PATH=/opt/warren/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /var/lib/warren
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-I", "/opt/warren/healthcheck.py", "http://127.0.0.1:9464/livez"]
ENTRYPOINT ["warren"]
CMD ["worker"]
