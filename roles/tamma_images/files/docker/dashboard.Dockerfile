# Tamma's dashboard: a page, served by nginx, which leads /api and /elsa-api to the services.
# The context is the root of Tamma's source; "files" is the directory of this file, "nginx" has the template that a deploy has.
ARG NODE_IMAGE=node:22.23.3-trixie-slim
ARG NGINX_IMAGE=nginx:1.28-alpine-slim

FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS tools
ARG NPM_CONFIG_REGISTRY=https://registry.npmjs.org/
ENV NPM_CONFIG_REGISTRY=${NPM_CONFIG_REGISTRY} CI=true
WORKDIR /app
COPY package.json ./
RUN --mount=type=cache,target=/root/.npm --mount=type=bind,from=files,target=/mnt sh /mnt/manager.sh

FROM --platform=$BUILDPLATFORM ${NODE_IMAGE} AS manifests
RUN --mount=type=bind,target=/srv --mount=type=bind,from=files,target=/mnt sh /mnt/manifests.sh /srv /manifests

FROM tools AS build
COPY --from=manifests /manifests ./
RUN --mount=type=cache,id=tamma-pnpm,target=/pnpm \
    pnpm install --frozen-lockfile --store-dir=/pnpm --filter "@tamma/dashboard..." --filter "{.}"
COPY tsconfig*.json ./
COPY packages/ packages/
# The browser asks where the page came from: the same image serves every address.
ENV VITE_API_BASE_URL=/api
ARG TAMMA_DATE=0
RUN --mount=type=bind,from=files,source=dashboard.vite.config.mjs,target=packages/dashboard/tamma.vite.config.mjs \
    pnpm --filter "@tamma/dashboard^..." run build \
 && pnpm --filter "@tamma/dashboard" exec vite build --config tamma.vite.config.mjs
RUN --mount=type=bind,from=files,target=/mnt --mount=type=bind,from=nginx,target=/srv \
    sh /mnt/page.sh packages/dashboard/dist /srv/default.conf.template /image

FROM ${NGINX_IMAGE} AS root
USER 0
RUN --mount=type=bind,from=files,target=/mnt sh /mnt/root.sh dashboard /image
USER 101:101

# From nothing, with the start that the official image has: what a stage took away is in no layer.
FROM scratch AS tamma-dashboard
COPY --from=root /image/ /
COPY --from=build /image/ /
# The template needs the name servers of wherever it runs, and to know who works on issues.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin NGINX_ENTRYPOINT_LOCAL_RESOLVERS=1 \
    TAMMA_ENGINE_RUNS=engine
USER 101:101
EXPOSE 80
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["wget", "-q", "--tries=1", "--spider", "http://127.0.0.1:80/"]
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/docker-entrypoint.sh"]
CMD ["nginx", "-g", "daemon off;"]
