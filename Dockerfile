# syntax=docker/dockerfile:1
# A small image of the daemon alone, as nobody in particular (user 65532). Built where this file lies:
#   docker build -t aclarai-scheduler --build-arg COMMIT=$(git rev-parse --short HEAD) .
#
# It has no shell and no Python. Command jobs need the programs that they run; for jobs in Python:
#   docker build -t aclarai-scheduler --target with-python .

# Has the C compiler that SQLite and TLS need.
FROM rust:1.91-slim-bookworm AS build
WORKDIR /src
COPY . .
ARG COMMIT
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    ${COMMIT:+env ACLARAI_COMMIT="$COMMIT"} cargo build --release --locked \
    && install -D target/release/aclarai-scheduler /out/usr/bin/aclarai-scheduler \
    && install -d -m 0700 /out/state

# For command jobs in Python; `docker build` without a target makes the last image, which has the program alone.
FROM python:3.13-slim-bookworm AS with-python
COPY --from=build /out/usr/bin/aclarai-scheduler /usr/bin/aclarai-scheduler
COPY --from=build --chown=65532:65532 /out/state /state
# Runs classes that have run_job(): docs/moving-over.md.
COPY examples/python_job.py /opt/python_job.py
USER 65532:65532
WORKDIR /
ENV STATE_DIRECTORY=/state
VOLUME /state
HEALTHCHECK --interval=60s --timeout=5s --start-period=10s CMD ["/usr/bin/aclarai-scheduler", "status"]
ENTRYPOINT ["/usr/bin/aclarai-scheduler"]
CMD ["serve"]

FROM gcr.io/distroless/cc-debian12:nonroot AS program
COPY --from=build /out/usr/bin/aclarai-scheduler /usr/bin/aclarai-scheduler
# Belongs to the user of the image, so that a new volume does too.
COPY --from=build --chown=65532:65532 /out/state /state
# The configuration is /settings/aclarai.config.yaml, the vault /vault: where the original had them.
WORKDIR /
ENV STATE_DIRECTORY=/state
VOLUME /state
HEALTHCHECK --interval=60s --timeout=5s --start-period=10s CMD ["/usr/bin/aclarai-scheduler", "status"]
ENTRYPOINT ["/usr/bin/aclarai-scheduler"]
CMD ["serve"]
