# Tamma's .NET API.
# The context is the root of Tamma's source; the context "files" is the directory of this file.
ARG DOTNET_SDK_IMAGE=mcr.microsoft.com/dotnet/sdk:8.0
ARG ASPNET_IMAGE=mcr.microsoft.com/dotnet/aspnet:8.0

# What is published is the same for every architecture, so it is made on the builder's own.
FROM --platform=$BUILDPLATFORM ${DOTNET_SDK_IMAGE} AS build
WORKDIR /src
COPY apps/tamma-elsa/src/ ./
ARG TAMMA_DATE=0
RUN --mount=type=cache,id=tamma-nuget,target=/root/.nuget/packages --mount=type=bind,from=files,target=/mnt \
    sh /mnt/publish.sh Tamma.Api /image

FROM ${ASPNET_IMAGE} AS root
RUN --mount=type=bind,from=files,target=/mnt sh /mnt/root.sh dotnet /image

# From nothing: what a stage took away is in no layer, and both .NET services share what they run on.
FROM scratch AS tamma-api-dotnet
COPY --from=root /image/ /
COPY --from=build /image/ /
# A runtime that came after the one that the services were written for will do.
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DOTNET_RUNNING_IN_CONTAINER=true \
    ASPNETCORE_URLS=http://+:3000 ASPNETCORE_ENVIRONMENT=Production DOTNET_ROLL_FORWARD=Major
WORKDIR /app
USER 999:999
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 \
    CMD ["curl", "-fsS", "-o", "/dev/null", "--max-time", "8", "http://127.0.0.1:3000/health"]
ENTRYPOINT ["dotnet", "Tamma.Api.dll"]
