#!/bin/sh
# Compiles one of the .NET services: publish.sh PROJECT TARGET
set -eu
dotnet publish "$1/$1.csproj" --configuration Release --output "$2/app" \
    -p:UseAppHost=false -p:ContinuousIntegrationBuild=true -p:Deterministic=true
sh /mnt/dates.sh "$2"
