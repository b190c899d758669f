#!/bin/sh
# Takes out of an installed environment what no program of ours reads.
# usage: slim.sh VENV
set -eu
cd "$1"/lib/python3*/site-packages

# Sources of extensions, descriptions of messages, stubs of types, pip's lists of files, the packages' own tests.
find . -type f \( -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' \
    -o -name '*.proto' -o -name '*.pyi' -o -path '*.dist-info/RECORD' \) -delete
find . -depth -type d \( -name tests -o -name test -o -path ./sqlalchemy/testing -o -path ./alembic/testing \) -exec rm -rf {} +

# The descriptions of the hundreds of AWS services that are not storage, queues, or the keys to both.
find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sqs ! -name sts ! -name sso ! -name sso-oidc \
    -exec rm -rf {} +

# Pictures: AVIF, which we refuse, text in pictures, and Tk. PDFs: typefaces in formats that reports don't embed (they take .ttf).
rm -f PIL/_avif.*.so PIL/_imagingft.*.so PIL/_imagingtk.*.so
(cd pillow.libs && rm -f libavif-*.so* libfreetype-*.so* libharfbuzz-*.so* libpng16-*.so* libbrotli*.so*)
rm -f reportlab/fonts/*.pfb reportlab/fonts/*.sfd reportlab/fonts/*.afm reportlab/fonts/DarkGarden* reportlab/fonts/hb-test.ttf
# XML: the second way to read it, comparing pages, Schematron.
rm -rf lxml/objectify.*.so lxml/html/diff.*.so lxml/html/_difflib.*.so lxml/isoschematron lxml/includes

# Celery's command line with its shell: no role starts it.
rm -rf click_repl* prompt_toolkit* wcwidth* ../../../bin/celery

find . -name '*.so*' -type f -exec strip --strip-unneeded {} +
