# Images of the two services: `docker build --target loader .` and `--target admin-api`, for amd64 and arm64. Needs BuildKit.
ARG BASE_IMAGE=node:24-bookworm-slim
# What compiles, on the machine that builds: the same, unless the base has another architecture than that machine and no name in common.
ARG BUILD_IMAGE=${BASE_IMAGE}
# Where the Loader's Docker CLI and its compose come from, programs without libraries.
ARG DOCKER_CLI_IMAGE=docker:28-cli

# The bundles are the same for every architecture, so nothing here is emulated.
FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS build
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
# Install scripts bring what tests need, and what compiles needs none.
RUN npm ci --ignore-scripts
COPY tsconfig.base.json tsconfig.json ./
COPY apps apps
COPY libs libs
COPY tools tools
RUN node node_modules/typescript/bin/tsc --build apps/loader apps/admin-api tools \
 && node tools/dist/release.js loader admin-api

# What the bundle needs beside it, for the architecture of the image.
FROM build AS loader-release
ARG TARGETARCH
WORKDIR /workspace/release/loader
RUN npm ci --omit=dev --ignore-scripts --os=linux --libc=glibc --cpu="$(echo "${TARGETARCH}" | sed 's/^amd64$/x64/')" \
 && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.md' -o -name '*-es-bundle*' \) -exec rm {} +

FROM build AS admin-api-release
ARG TARGETARCH
WORKDIR /workspace/release/admin-api
RUN npm ci --omit=dev --ignore-scripts --os=linux --libc=glibc --cpu="$(echo "${TARGETARCH}" | sed 's/^amd64$/x64/')" \
 && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.md' -o -name '*-es-bundle*' \) -exec rm {} +

# What the images hold beside the product: of the base the programs that are needed and what these need, but neither a package manager nor npm.
# tools/src/release/released-images.ts lists the programs.
FROM ${DOCKER_CLI_IMAGE} AS docker-cli

FROM ${BASE_IMAGE} AS loader-root
# What the binding `tpm` and the unlock start.
RUN apt-get update \
 && apt-get install -y --no-install-recommends tpm2-tools libtss2-tcti-device0 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY --from=docker-cli /usr/local/bin/docker /usr/local/bin/
COPY --from=docker-cli /usr/local/libexec/docker/cli-plugins/docker-compose /usr/local/libexec/docker/cli-plugins/
COPY --from=build /workspace/tools/package.json /tools/
COPY --from=build /workspace/tools/dist /tools/dist
COPY --from=loader-release /workspace/release/loader /release
RUN node /tools/dist/image-root.js loader /release /image /bill

FROM ${BASE_IMAGE} AS admin-api-root
COPY --from=build /workspace/tools/package.json /tools/
COPY --from=build /workspace/tools/dist /tools/dist
COPY --from=admin-api-release /workspace/release/admin-api /release
RUN node /tools/dist/image-root.js admin-api /release /image /bill

FROM scratch AS service
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Azaion" \
      org.opencontainers.image.licenses="UNLICENSED" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production PATH=/usr/local/bin:/usr/bin:/bin
WORKDIR /app
ENTRYPOINT ["node", "/app/dist/main.js"]

FROM service AS loader
COPY --from=loader-root /image /
# What distroless images call "nonroot".
COPY --from=loader-root --chown=65532:65532 /image/data /data
VOLUME /data
USER 65532:65532
LABEL org.opencontainers.image.title="azaion-loader" \
      org.opencontainers.image.description="Opens encrypted models and images on an edge device"
ENV LOADER_HOST=0.0.0.0 LOADER_PORT=8080 LOADER_DATA_DIR=/data
COPY --from=loader-release /workspace/release/loader ./
COPY --from=loader-root /bill ./
EXPOSE 8080
# It asks itself over loopback, where the name in its certificate cannot match.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["node", "-e", "require(process.env.LOADER_TLS_CERT_FILE ? 'node:https' : 'node:http').get({ host: '127.0.0.1', port: process.env.LOADER_PORT, path: '/health/live', rejectUnauthorized: false }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]

FROM service AS admin-api
COPY --from=admin-api-root /image /
COPY --from=admin-api-root --chown=65532:65532 /image/data /data
VOLUME /data
USER 65532:65532
LABEL org.opencontainers.image.title="azaion-admin-api" \
      org.opencontainers.image.description="Keeps users, devices, catalogue and the small parts of sealed resources"
ENV ADMIN_HOST=0.0.0.0 ADMIN_PORT=8080 ADMIN_DATA_DIR=/data
COPY --from=admin-api-release /workspace/release/admin-api ./
COPY --from=admin-api-root /bill ./
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["node", "-e", "require('node:http').get(`http://127.0.0.1:${process.env.ADMIN_PORT}/health/live`, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
