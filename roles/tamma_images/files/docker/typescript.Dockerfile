# Tamma's TypeScript services from one workspace: targets tamma-api and tamma-engine.
# The context is the root of Tamma's source; the context "files" is the directory of this file.
ARG NODE_IMAGE=node:22.23.3-trixie-slim

# Everything up to the application runs on the builder's own architecture, whatever the image is for.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS tools
ARG NPM_CONFIG_REGISTRY=https://registry.npmjs.org/
ENV NPM_CONFIG_REGISTRY=${NPM_CONFIG_REGISTRY} CI=true
WORKDIR /app
COPY package.json ./
RUN --mount=type=cache,target=/root/.npm --mount=type=bind,from=files,target=/mnt sh /mnt/manager.sh

# What decides about dependencies, and nothing else: as long as it is the same, they come from the cache.
FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS manifests
RUN --mount=type=bind,target=/srv --mount=type=bind,from=files,target=/mnt sh /mnt/manifests.sh /srv /manifests

FROM tools AS build
COPY --from=manifests /manifests ./
RUN --mount=type=cache,id=tamma-pnpm,target=/pnpm \
    pnpm install --frozen-lockfile --store-dir=/pnpm --filter "@tamma/cli..." --filter "{.}"
COPY tsconfig*.json ./
COPY packages/ packages/
RUN pnpm --filter "@tamma/cli..." run build

FROM tools AS application
COPY --from=manifests /manifests ./
RUN --mount=type=cache,id=tamma-pnpm,target=/pnpm \
    pnpm install --frozen-lockfile --prod --ignore-scripts --store-dir=/pnpm --filter "@tamma/cli..."
ARG TAMMA_DATE=0
RUN --mount=type=bind,from=build,source=/app,target=/built --mount=type=bind,from=files,target=/mnt \
    sh /mnt/application.sh /built /image

FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS agent
ARG NPM_CONFIG_REGISTRY=https://registry.npmjs.org/
ARG CLAUDE_VERSION=2.1.332
ARG TARGETARCH
RUN --mount=type=cache,target=/root/.npm --mount=type=bind,from=files,target=/mnt \
    sh /mnt/agent.sh "$CLAUDE_VERSION" "$TARGETARCH" /image

FROM ${NODE_IMAGE} AS program
RUN --mount=type=bind,from=files,target=/mnt sh /mnt/program.sh /usr/local/bin/node /image

FROM ${NODE_IMAGE} AS api-root
RUN --mount=type=bind,from=files,target=/mnt sh /mnt/root.sh api /image

FROM ${NODE_IMAGE} AS engine-root
RUN --mount=type=bind,from=files,target=/mnt sh /mnt/root.sh engine /image

# From nothing: what a stage took away is in no layer, and layers that both images have are stored once.
FROM scratch AS tamma-api
COPY --from=api-root /image/ /
COPY --from=program /image/ /
COPY --from=application /image/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_ENV=production HOME=/home/tamma
WORKDIR /app
USER 1001:1001
EXPOSE 3100
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["wget", "-q", "--tries=1", "--spider", "http://127.0.0.1:3100/api/health"]
ENTRYPOINT ["tini", "--"]
CMD ["node", "packages/cli/dist/index.js", "server", "--port", "3100", "--host", "0.0.0.0"]

FROM scratch AS tamma-engine
COPY --from=engine-root /image/ /
COPY --from=program /image/ /
COPY --from=application /image/ /
COPY --from=agent /image/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NODE_ENV=production HOME=/home/tamma \
    DISABLE_AUTOUPDATER=1
WORKDIR /app
USER 1001:1001
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["test", "-f", "/tmp/tamma-engine-healthy"]
ENTRYPOINT ["tini", "--"]
CMD ["node", "packages/cli/dist/index.js", "start", "--mode", "service"]
