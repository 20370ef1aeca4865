#!/bin/sh
# Brings the agent, in the form for the architecture of the image: agent.sh VERSION ARCHITECTURE TARGET
# Without a version none.
set -eu
version=$1 target=$3
mkdir -p "$target/usr/local/bin"
if [ -z "$version" ]; then
    sh /mnt/dates.sh "$target"
    exit
fi
case $2 in
    amd64) cpu=x64 ;;
    arm64) cpu=arm64 ;;
    *) echo "There is no claude for $2." >&2 && exit 1 ;;
esac
set -- /lib/ld-musl-*
[ -e "$1" ] && libc=-musl || libc=

work=$(mktemp -d)
cd "$work"
npm pack --silent "@anthropic-ai/claude-code-linux-$cpu$libc@$version" >/dev/null
tar -xzf ./*.tgz
install -m 0755 package/claude "$target/usr/local/bin/claude"
rm -rf "$work"
sh /mnt/dates.sh "$target"
