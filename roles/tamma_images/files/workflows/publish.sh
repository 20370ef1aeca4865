#!/bin/sh
# What a workflow does to publish Tamma's images, and nothing that needs one: publish.sh SOURCE REGISTRY RESULT [push]
#
#   SOURCE     a checkout of Tamma, with its tags
#   REGISTRY   where the images go, such as ghcr.io/meywd
#   RESULT     a file that gets what was made, for a deploy and for smoke.sh
#   push       builds for both architectures, attests, pushes and signs; without it the images stay in this engine
#
# The logins are those of the Docker client. COSIGN names another signing program; PUBLISH_VARIABLES a file with more
# variables of the role tamma_images. With COSIGN_PRIVATE_KEY (and COSIGN_PASSWORD) that key signs, and else the workflow.
set -eu
fail() {
    printf 'publish: %s\n' "$*" >&2
    exit 1
}

case $#:${4:-} in
3: | 4:push) ;;
*) fail 'it takes a checkout, a registry, a file for the result and, if it shall push, the word push.' ;;
esac
source=$(cd "$1" && pwd) || fail "$1 is no checkout."
push=false
platforms='[]'
if [ "${4:-}" ]; then
    push=true
    platforms='["linux/amd64", "linux/arm64"]'
    command -v "${COSIGN:-cosign}" >/dev/null || fail 'there is no cosign, and nothing is pushed that is not signed.'
fi
variables=$(printf '{"tamma_images_push": %s, "tamma_images_attestations": %s, "tamma_images_platforms": %s}' \
    "$push" "$push" "$platforms")
root=$(cd "$(dirname "$0")/../../../.." && pwd)
# A checkout says itself where Ansible finds the collection.
[ ! -f "$root/ansible.cfg" ] || export ANSIBLE_CONFIG="$root/ansible.cfg"
ansible-playbook "$root/playbooks/images.yml" -e "tamma_images_source=$source" \
    -e "tamma_images_registry=$2" -e "tamma_images_result=$3" -e "$variables" ${PUBLISH_VARIABLES:+-e "@$PUBLISH_VARIABLES"}
[ "$push" = true ] || exit 0
# By digest: a tag can be moved between both.
references=$(sed -n 's/^  [A-Z_]*_IMAGE: "\{0,1\}\([^"@]*\):[^:/"@]*@\(sha256:[0-9a-f]*\)"\{0,1\}$/\1@\2/p' "$3")
[ -n "$references" ] || fail "$3 has no digests: nothing was signed."
set -- --yes
[ -z "${COSIGN_PRIVATE_KEY:-}" ] || set -- "$@" --key env://COSIGN_PRIVATE_KEY --tlog-upload=false
# The form of cosign 2, which hosts compare. The help of cosign 3 does not show what it takes for that.
for word in --new-bundle-format=false --use-signing-config=false; do
    ! "${COSIGN:-cosign}" sign "$word" --help >/dev/null 2>&1 || set -- "$@" "$word"
done
for reference in $references; do
    "${COSIGN:-cosign}" sign "$@" "$reference" || fail "$reference was pushed, and cannot be signed: see above, and run this again."
done
