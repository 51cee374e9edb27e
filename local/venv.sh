#!/bin/sh
# Makes `.venv` and installs the lock into it. Needs a Python 3.11 to 3.13 and a package index, nothing else.
# PYTHON=… names the interpreter. A second call with nothing changed only compares a checksum.
set -eu

venv=.venv
stamp=$venv/.installed

version_of() {
    # A shim on PATH may exist and fail (pyenv), so the interpreter is asked, not its name.
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
    found=
    for candidate in $PYTHON python3.13 python3.12 python3.11 python3 python; do
        version=$(version_of "$candidate") || continue
        case $version in
            3.11 | 3.12 | 3.13)
                if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
                    echo "$candidate"
                    return
                fi
                found="$found
  $candidate is $version, but lacks the venv module (Debian and Ubuntu: apt-get install python$version-venv)"
                ;;
            *) found="$found
  $candidate is $version" ;;
        esac
        if [ -n "$PYTHON" ]; then break; fi
    done
    {
        echo "Python 3.11, 3.12 or 3.13 is needed. Found on PATH:${found:-
  none}"
        echo "Install one of them, or name one: PYTHON=/path/to/python3.12 make run"
    } >&2
    exit 2
}

PYTHON=${PYTHON:-}
if [ -n "$PYTHON" ] || ! version_of "$venv/bin/python" >/dev/null; then
    chosen=$(find_python)
    if [ "$(version_of "$venv/bin/python" || true)" != "$(version_of "$chosen")" ]; then
        echo "Making $venv with $chosen ($(version_of "$chosen"))" >&2
        rm -rf "$venv"
        "$chosen" -m venv "$venv"
    fi
fi

wanted=$("$venv/bin/python" - requirements.txt pyproject.toml <<'PYTHON'
import hashlib, pathlib, sys
print(hashlib.sha256(b"".join(pathlib.Path(name).read_bytes() for name in sys.argv[1:])).hexdigest())
PYTHON
)
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$wanted" ]; then
    echo "Installing $(grep -c '^[a-z]' requirements.txt) locked packages into $venv (once; some minutes)" >&2
    quiet=-q
    if [ -t 1 ]; then quiet=; fi
    "$venv/bin/python" -m pip install $quiet --disable-pip-version-check -r requirements.txt
    "$venv/bin/python" -m pip install -q --disable-pip-version-check --no-deps -e .
    echo "$wanted" >"$stamp"
fi
