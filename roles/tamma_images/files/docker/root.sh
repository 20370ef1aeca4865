#!/bin/sh
# Makes what is not the application: packages, the user, the directories in which it writes. Nothing is left behind that
# differs from one build to the next.
#   root.sh api|engine TARGET    copies all of it to TARGET
#   root.sh dashboard|dotnet     leaves it where it is
set -eu

begun=/run/begun
touch "$begun"
user=tamma id=1001 home=/home/tamma
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

rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/cache/ldconfig/* /var/cache/apk/* \
    /var/lib/dpkg/*-old /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /root/.npm /root/.cache /tmp/* \
    /usr/share/doc/* /usr/share/man/* /usr/share/info/* /usr/share/lintian/* /usr/share/locale/*
find /var/log -type f -delete
# An engine gives a new volume the owner of the directory that the image has in its place.
for place in $home $writes; do
    case $place in *.pid) touch "$place" ;; *) mkdir -p "$place" ;; esac
    chown -R "$id:$id" "$place"
done

[ "$1" != dashboard ] || rm -rf /etc/nginx/conf.d/default.conf /usr/share/nginx/html/*
case $1 in
    api | engine)
        # The program comes as a layer of its own, which both images share; the package managers are for builds.
        find /usr/local -mindepth 1 -delete
        rm -rf /opt/yarn*
        mkdir -p "$2/dev" "$2/mnt" "$2/proc" "$2/run" "$2/sys" "$2/tmp"
        chmod 1777 "$2/tmp"
        for entry in /*; do
            case $entry in
                /dev | /mnt | /proc | /run | /sys | /tmp | "$2") ;;
                *) cp -a "$entry" "$2/" ;;
            esac
        done
        sh /mnt/dates.sh "$2"
        ;;
    *) sh /mnt/dates.sh / "$begun" ;;
esac
