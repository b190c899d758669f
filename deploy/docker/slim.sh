#!/bin/sh
# Takes out of an installed environment what no program of ours reads: sources of extensions, their debug symbols, the
# descriptions of the hundreds of AWS services that are not storage or queues, the packages' own tests, stubs of types, a picture
# format that we refuse, and a second way to read XML.
# usage: slim.sh SITE-PACKAGES
set -eu
cd "$1"
find . \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -type f -delete
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sqs ! -name sts ! -name sso ! -name sso-oidc \
    -exec rm -rf {} +
find . -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find . \( -name '*.pyi' -o -path '*.dist-info/RECORD' \) -type f -delete
rm -f PIL/_avif.*.so pillow.libs/libavif-*.so* lxml/objectify.*.so
find . -name '*.so*' -type f -exec strip --strip-unneeded {} +
