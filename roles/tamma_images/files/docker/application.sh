#!/bin/sh
# Puts together what runs: application.sh BUILT TARGET
# From the current directory come the dependencies of production, from BUILT what was compiled.
set -eu
export LC_ALL=C
built=$1 app=$2/app

mkdir -p "$app"
cp package.json "$app/"
cp -a node_modules "$app/"
for package in packages/*; do
    [ -d "$built/$package/dist" ] || continue
    mkdir -p "$app/$package"
    cp "$package/package.json" "$app/$package/"
    cp -a "$built/$package/dist" "$app/$package/"
    [ ! -d "$package/node_modules" ] || cp -a "$package/node_modules" "$app/$package/"
done
[ -f "$app/packages/cli/dist/index.js" ] || { echo "packages/cli has no dist/index.js after its build." >&2; exit 1; }

# For compilers and debuggers, and what pnpm notes about its own work.
find "$app" -type f \( -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' -o -name '*.tsbuildinfo' \) -delete
rm -rf "$app/node_modules/.modules.yaml" "$app"/node_modules/.pnpm-workspace-state* "$app/node_modules/.pnpm/lock.yaml"
# Of several versions pnpm links now one, now another for packages that do not name what they import.
hoisted=$app/node_modules/.pnpm/node_modules
[ ! -d "$hoisted" ] || find "$hoisted" -type l | while IFS= read -r link; do
    name=${link#"$hoisted"/} last=
    for found in "$app/node_modules/.pnpm"/*/node_modules/"$name"; do
        [ ! -d "$found" ] || [ -L "$found" ] || last=${found#"$app/node_modules/.pnpm/"}
    done
    case $name in */*) up=../.. ;; *) up=.. ;; esac
    [ -z "$last" ] || ln -sfn "$up/$last" "$link"
done
if native=$(find "$app" -name '*.node' | head -n 1) && [ -n "$native" ]; then
    echo "$native is made for one architecture: build on a machine of each." >&2
    exit 1
fi
sh /mnt/dates.sh "$2"
