#!/bin/sh
# Makes what is not the application: packages, the user, the directories in which it writes.
#   root.sh api|engine|dashboard|dotnet
# Nothing is left behind that differs from one build to the next.
set -eu

user=tamma id=1001 home=/home/tamma
case $1 in
    api) debian='ca-certificates tini wget' alpine='ca-certificates tini' writes='/app/logs /workspace' ;;
    engine)
        debian='bash ca-certificates git openssh-client procps ripgrep tini wget'
        alpine='bash ca-certificates git libgcc libstdc++ openssh-client procps ripgrep tini'
        writes='/app/logs /workspace'
        ;;
    dotnet)
        debian='ca-certificates curl' alpine='ca-certificates curl' id=999 home=/app
        writes='/app/App_Data /app/activities /app/logs /app/storage /app/workflows'
        ;;
    dashboard)
        debian='wget' alpine='' user=nginx id=101 home=/var/cache/nginx
        writes='/etc/nginx/conf.d /var/cache/nginx /var/log/nginx'
        ;;
esac

if command -v apk >/dev/null; then
    # shellcheck disable=SC2086 # a list of packages
    [ -z "$alpine" ] || apk add --no-cache $alpine
else
    missing=
    for package in $debian; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
    done
    if [ -n "$missing" ]; then
        apt-get update -qq
        # shellcheck disable=SC2086 # a list of packages
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
    fi
fi

if ! grep -q "^[^:]*:[^:]*:$id:" /etc/passwd; then
    sed -i "/^$user:/d" /etc/passwd /etc/group
    echo "$user:x:$id:" >>/etc/group
    echo "$user:x:$id:$id::$home:/bin/sh" >>/etc/passwd
fi
# Before anybody mounts a volume there: an engine gives a new one the owner of the directory in the image.
for directory in $home $writes; do
    mkdir -p "$directory"
    case $directory in /app) ;; *) chown "$id:$id" "$directory" ;; esac
done

case $1 in
    # The program comes as a layer of its own, which both images share; its package managers are for builds.
    api | engine) rm -rf /usr/local/lib/node_modules /usr/local/include /usr/local/bin/* /usr/local/share/* /opt/yarn* ;;
    dashboard)
        rm -f /etc/nginx/conf.d/default.conf
        chown -R "$id:$id" $writes
        install -m 0644 -o "$id" -g "$id" /dev/null /run/nginx.pid
        ;;
esac
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/cache/apk/* /var/log/* \
    /var/lib/dpkg/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /root/.npm /root/.cache /tmp/* \
    /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/lintian/*
[ "$1" != dashboard ] || install -d -o "$id" -g "$id" /var/log/nginx
sh /mnt/dates.sh /
