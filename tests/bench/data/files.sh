#!/bin/sh -eu
# Files with everything that a copy may lose, in the directory $1.
cd "$1" || exit
mkdir -p deep/er/est 'name with "quotes" and ünïcode' empty
head -c 3000000 /dev/urandom > deep/er/random
seq 1 100000 > deep/er/est/numbers
: > 'name with "quotes" and ünïcode/
newline'
ln -s ../random deep/er/est/link
ln -s /nowhere dangling
ln deep/er/random deep/hard
printf 'only mine' > private
chmod 0600 private
chmod 02775 deep/er
chmod 04755 deep/er/est/numbers
chown -h 12345:54321 private empty dangling
touch -d '2001-02-03 04:05:06.789' deep/er/est/numbers
