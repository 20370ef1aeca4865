#!/bin/sh
# Puts everything but the application together: the base, packages, the user, the directories in which it writes.
#   root.sh api|engine|dashboard|dotnet TARGET
# What differs from one build to the next is left out, and what only builds need.
set -eu

target=$2 user=tamma id=1001 home=/home/tamma
case $1 in
    api) debian='ca-certificates tini wget' alpine='ca-certificates tini' writes='/app/logs /workspace' ;;
    engine)
        debian='bash ca-certificates git openssh-client procps ripgrep tini wget'
        alpine='bash ca-certificates git libgcc libstdc++ openssh-client procps ripgrep tini'
        writes='/app/logs /workspace'
        ;;
    dotnet)
        debian='ca-certificates curl' alpine='ca-certificates curl' id=999 home=/app/App_Data
        writes='/app/activities /app/logs /app/storage /app/workflows'
        ;;
    dashboard)
        debian='wget' alpine='' user=nginx id=101 home=/var/cache/nginx
        writes='/etc/nginx/conf.d /run/nginx.pid /var/log/nginx'
        ;;
esac

missing() {
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

if command -v apk >/dev/null; then
    # shellcheck disable=SC2086 # a list
    [ -z "$alpine" ] || apk add --no-cache $alpine
else
    # shellcheck disable=SC2086 # a list
    wanted=$(missing $debian)
    if [ -n "$wanted" ]; then
        apt-get update -qq
        # shellcheck disable=SC2086 # a list
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted
    fi
fi

if ! grep -q "^[^:]*:[^:]*:$id:" /etc/passwd; then
    echo "$user:x:$id:" >>/etc/group
    echo "$user:x:$id:$id::$home:/bin/sh" >>/etc/passwd
fi

mkdir -p "$target/dev" "$target/mnt" "$target/proc" "$target/run" "$target/sys" "$target/tmp"
chmod 1777 "$target/tmp"
for entry in /*; do
    case $entry in
        /.dockerenv | /dev | /mnt | /proc | /run | /sys | /tmp | "$target") ;;
        *) cp -a "$entry" "$target/" ;;
    esac
done
cd "$target"
rm -rf var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/* var/cache/ldconfig/* var/cache/apk/* var/lib/dpkg/*-old \
    etc/passwd- etc/group- etc/shadow- etc/gshadow- root/.npm root/.cache \
    usr/share/doc/* usr/share/man/* usr/share/info/* usr/share/lintian/* usr/share/locale/*
find var/log -type f -delete
case $1 in
    # The program comes as a layer of its own, which both images share; the package managers are for builds.
    api | engine) rm -rf usr/local opt/yarn* ;;
    dashboard) rm -rf etc/nginx/conf.d/default.conf usr/share/nginx/html/* ;;
esac

# An engine gives a new volume the owner of the directory that the image has in its place.
for place in $home $writes; do
    case $place in *.pid) touch "$target$place" ;; *) mkdir -p "$target$place" ;; esac
    chown -R "$id:$id" "$target$place"
done
sh /mnt/dates.sh "$target"
