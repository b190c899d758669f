#!/bin/sh
# Takes out of an installed environment what no program of ours reads: sources of extensions, their debug symbols, the
# descriptions of the hundreds of AWS services that are not storage or queues, and the packages' own tests.
# usage: slim.sh SITE-PACKAGES
set -eu
cd "$1"
find . \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -type f -delete
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sqs ! -name sts ! -name sso ! -name sso-oidc \
    -exec rm -rf {} +
find . -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find . -name '*.so*' -type f -exec strip --strip-unneeded {} +
