#!/bin/bash
# The design's script for updates (seed §11.4) word for word, as the benchmark's comparison, with the step that §11.3
# puts before it: pin TAMMA_VERSION in .env. Run in the stack's directory: update.sh 0.3.0
set -euo pipefail

sed -i "s/^TAMMA_VERSION=.*/TAMMA_VERSION=$1/" .env

echo "Backing up Postgres..."
docker compose exec -T postgres pg_dump -U tamma tamma > "backup_$(date +%Y%m%d_%H%M%S).sql"

echo "Pulling latest images..."
docker compose pull

echo "Restarting services..."
docker compose up -d

echo "Waiting for health checks..."
sleep 30
docker compose ps

echo "Update complete."
