# Brings the project into the guest: the wheel with what it needs, and the tests. Sourced.
# shellcheck shell=bash

PROJECT=$(cd "$HERE/../.." && pwd)
EXTRAS=${SMOLVM_LAB_EXTRAS:-test}

builder_pip() { "$LAB/builder/bin/python" -m pip "$@" -qq --disable-pip-version-check; }

make_wheel() {
    mkdir -p "$1"
    builder_pip wheel --no-deps --wheel-dir "$1" "$PROJECT"
}

# What the project needs, without the project.
make_requirements() {
    builder_pip install --target "$1" "$(echo "$LAB"/dist/*.whl)[$EXTRAS]"
    # The engine of the guest is the lab's, which is altered.
    rm -rf "$1"/{smol,smolmachines-*,pytest_bottle,pytest_bottle-*}
}

make_site() {
    cp -a "$LAB/requirements" "$1"
    builder_pip install --no-deps --target "$1.project" "$LAB"/dist/*.whl
    cp -a "$1.project/." "$1/"
    rm -rf "$1.project"
    sed -i "1s|^#!.*python.*|#!/usr/bin/python3|" "$1"/bin/*
}

sources() {
    (cd "$PROJECT" && find pytest_bottle pyproject.toml README.md LICENSE -type f \
        -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# Prints what the project asks for, in one line.
requirements() {
    /usr/bin/python3 -c '
import sys, tomllib
project = tomllib.load(sys.stdin.buffer)["project"]
print(project["dependencies"], project["optional-dependencies"])' <"$PROJECT/pyproject.toml"
}

# rsync, quiet, over the lab's ssh.
send() {
    rsync --archive --delete --rsh "$(printf '%q ' ssh "${SSH[@]}")" "$@"
}

sync_project() {
    make dist "$(sources)" make_wheel
    make requirements "$EXTRAS $(requirements)" make_requirements
    make site "$(digest "$LAB"/stamps/{dist,requirements})" make_site
    # pytest's own caches of a guest's runs stay: to make them takes long there.
    send --exclude '*-pytest-*.pyc' "$LAB/site/" root@127.0.0.1:/opt/site/
    send --exclude /.git --filter ':- .gitignore' "$PROJECT/" root@127.0.0.1:/root/project/
}
