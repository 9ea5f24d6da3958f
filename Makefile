# Copyright (c) 2026 The pgops.access developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The front door. No logic here: tools/bootstrap makes the environment, tools/play runs a playbook, tools/check runs the checks.
# PORT, ENGINE and PURGE given to make reach tools/play as environment variables; ARGS goes on to the program that is called.

export PORT ENGINE PURGE
STAGES := lint unit repo sanity differential integration image molecule bench
.DEFAULT_GOAL := help
.PHONY: help up report down test clean $(STAGES)

help:        ## this list
	@sed -n 's/^\([a-z]*\): *\(.*[^ ]\)* *## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

up:          ## a running PostgreSQL, reachable from outside, and the proof      (PORT=5432 ENGINE=auto|docker|podman)
	@tools/bootstrap runtime && tools/play up $(ARGS)

report:      ## an HTML page about it: who can reach what, and how                (ARGS="-i inventory" for other servers)
	@tools/bootstrap runtime && tools/play report $(ARGS)

down:        ## remove what `make up` made, but keep the data                   (PURGE=1 removes the data, too)
	@tools/bootstrap runtime && tools/play down $(ARGS)

test:        ## every check of the project
	@tools/bootstrap dev && tools/check

lint:        ## ansible-lint, yamllint, ruff, mypy, shellcheck, hadolint
unit:        ## fast tests without I/O
repo:        ## the house's own rules
sanity:      ## ansible-test sanity
differential: ## our engine against real PostgreSQL servers                      (N=5000: that many new random files for each)
differential: export PGOPS_DIFFERENTIAL_N = $(or $(N),150)
differential: export PGOPS_DIFFERENTIAL_SEED = $(or $(SEED),$(if $(N),random))
integration: ## modules and roles against real servers
image:       ## the container image
molecule:    ## the whole product in containers
bench:       ## measurements
$(STAGES):
	@tools/bootstrap dev && tools/check $@ $(ARGS)

failover:    ## what failovers lose, and how long they last                      (N=30 PROFILE=fast|default)
	@tools/bootstrap dev && .pgops/venv/bin/python tests/failover/run.py --rounds $(or $(N),30) --profile $(or $(PROFILE),fast) $(ARGS)

clean:       ## remove the Python environment, the logs and caches; passwords and connection files stay
	rm -rf .pgops/venv .pgops/collections .pgops/logs .pgops/sanity .pgops/tmp .mypy_cache .ruff_cache
