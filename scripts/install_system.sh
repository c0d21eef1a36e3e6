#!/usr/bin/env bash
# Looks for the programs and headers that a build needs. As root on Debian it installs what is missing, else it names
# the packages. Called by the Makefile and .ci/run; PYTHON names the interpreter, `python3` unless told.
set -euo pipefail

python=${PYTHON:-python3}
packages=()

need() { # PACKAGE COMMAND...: PACKAGE is missing when COMMAND fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || packages+=("$package")
}

has_header() { cc -E -x c - <<<"#include <$1>"; }

python_has() { "$python" -c "$1"; }

need gcc command -v cc
need g++ command -v c++
need cmake command -v cmake
need pkg-config command -v pkg-config
need libc6-dev has_header stdlib.h
need libssl-dev has_header openssl/ssl.h
need libcurl4-openssl-dev has_header curl/curl.h # librdkafka reads the header even when built without curl
need python3 command -v "$python"
need python3-venv python_has 'import ensurepip, venv'
need python3-dev python_has 'import pathlib, sysconfig
assert (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists()'

if [[ ${#packages[@]} -gt 0 ]]; then
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "a build needs these Debian packages, or their like: ${packages[*]}" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi

if ! command -v cargo >/dev/null; then
  echo "a build needs cargo 1.90 or newer: install Rust with rustup (Debian: package rustup)" >&2
  exit 1
fi
if ! python_has 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "a build needs Python 3.11 or newer, got $("$python" --version); name another with PYTHON=..." >&2
  exit 1
fi
