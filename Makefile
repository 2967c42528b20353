# `make` lists the targets. `make setup PYTHON=...` names the Python to use (3.11 or 3.12).

.DEFAULT_GOAL := help
.ONESHELL:
.SILENT:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

INSTALLED := .venv/.installed
supported = $(shell $(1) -c 'import sys; print(sys.version_info[:2] in ((3, 11), (3, 12)) or "")' 2>/dev/null)
PYTHONS := .venv/bin/python python3.11 python3.12 python3
PYTHON ?= $(firstword $(foreach python,$(PYTHONS),$(if $(call supported,$(python)),$(python))))

.PHONY: help
help:  ## list the targets
	sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: setup
setup: system $(INSTALLED)  ## make .venv with everything in it, and bring headless OpenGL

.PHONY: quickstart
quickstart: setup  ## the whole loop in small: demos, features, policy, success rate, report
	.venv/bin/s2robot quickstart

.PHONY: test
test: setup  ## the quick tests
	.venv/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

.PHONY: test-slow
test-slow: setup  ## the tests that take long or need the network
	.venv/bin/python -m pytest -q -m slow

.PHONY: soak
soak: setup  ## the loop for two hours with faults injected; counts into build/soak.json (docs/faults.md)
	.venv/bin/python -m tests.stress.soak --out build/soak.json

.PHONY: lint
lint: setup  ## ruff and pyright
	.venv/bin/ruff check
	.venv/bin/ruff format --check --quiet
	.venv/bin/pyright

.PHONY: docs
docs: setup  ## the documentation site, into build/site; a dead link or an unknown reference fails
	PYTHONPATH=. .venv/bin/zensical build --strict
	echo "build/site/index.html"

# What pip does not bring: shared libraries for rendering; before the installation also venv, and a compiler
# with headers for `evdev`, which robosuite needs and which is built from source.
.PHONY: system
system:
	test -n "$(PYTHON)" || { echo "s2robot needs Python 3.11 or 3.12: none on PATH (PYTHON=... names one)" >&2; exit 1; }
	packages="$$($(PYTHON) -c 'from s2robot.utils.gl import missing_packages; print(*missing_packages())')"
	if [ ! -e $(INSTALLED) ] && [ "$$(uname)" = Linux ]; then
	    $(PYTHON) -c 'import ensurepip' 2>/dev/null || packages+=" python3-venv"
	    command -v gcc >/dev/null || packages+=" gcc libc6-dev"
	    [ -e /usr/include/linux/input.h ] || packages+=" linux-libc-dev"
	    include="$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')"
	    [ -e "$$include/Python.h" ] || packages+=" python3-dev"
	fi
	[ -n "$${packages// /}" ] || exit 0
	if [ "$$(id -u)" = 0 ]; then as_root=; else as_root="sudo -n"; fi
	if ! command -v apt-get >/dev/null || ! $$as_root true 2>/dev/null; then
	    echo "these are missing, please install them (names of Debian packages): $$packages" >&2; exit 1
	fi
	echo "installing $$packages with apt-get"
	$$as_root apt-get -qq update
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $$packages >/dev/null

$(INSTALLED): pyproject.toml constraints.txt | system
	.venv/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv .venv
	echo "installing the packages of constraints.txt into .venv (the first time some 8 GB on disk)"
	wanted=(-e ".[dev]" -c constraints.txt)
	if command -v uv >/dev/null && uv pip install -q --compile-bytecode --python .venv/bin/python "$${wanted[@]}"; then
	    :
	else
	    .venv/bin/python -m pip install -qq --disable-pip-version-check "$${wanted[@]}"
	fi
	touch $@
