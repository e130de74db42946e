#!/bin/sh
# Takes out of installed packages what no running program reads: a quarter of the adapter's image.
#   slim.sh FOLDER [PACKAGE ...]    the packages, such as numpy/f2py, go too
set -eu
find "$1" -type d -name tests -prune -exec rm -r {} +
find "$1" -type f \( -name '*.a' -o -name '*.pxd' -o -name '*.pyi' -o -name '*.pyx' \) -delete
# Of numpy's own tests.
find "$1" -path '*/numpy/core/_simd.*.so' -delete
# These come with their debug symbols, 50 MB in all. Modules that a wheel bundles libraries with are better left alone.
find "$1" \( -name '_ml_dtypes_ext*.so' -o -name 'rapidjson*.so' -o -path '*/httptools/*.so' -o -path '*/uvloop/*.so' \
  -o -path '*/yaml/*.so' \) -exec strip --strip-unneeded {} +
folder=$1
shift
for package; do
  rm -r "$folder"/lib/python3*/site-packages/"$package"
done
