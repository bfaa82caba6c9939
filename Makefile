# The contract with operators and scripts; `make help` prints it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
CYCLES ?= 50
MINUTES ?= 10
STREAMS ?= 1000000
SEEDS  ?= 1000
FIRST  ?= 0

# What the fast tests are; the compiled core passes the very same ones.
FAST   := $(wildcard tests/crash tests/sim tests/fuzz tests/unit tests/behaviour tests/tidy tests/test_*.py)
# The fast ones share nothing, so they run on all cores; the long ones first, as pytest-xdist hands them out in this order.
SIDE_BY_SIDE := -n auto --maxschedchunk=8
SLOW   := $(wildcard tests/live tests/differential)

# AMQPD_PURE=1 and the compiled build take turns in the one venv: each has its own stamp, and removes the other's.
ifeq ($(AMQPD_PURE),1)
KIND  := pure
else
KIND  := compiled
endif
STAMP := $(VENV)/.installed-$(KIND)

SOURCES := $(shell find amqpd -name '*.py' -o -name '*.sql' -o -path 'amqpd/management/web/*' -type f)

# The source tree first on the path, respectively not on it at all (-P), for this process and for those that it starts.
INTERPRETED := env -u PYTHONSAFEPATH PYTHONPATH=$(CURDIR) AMQPD_EXPECT_COMPILED=0
COMPILED    := env -u PYTHONPATH PYTHONSAFEPATH=1 AMQPD_EXPECT_COMPILED=1
# What was installed: the compiled core, or the sources where there is none.
INSTALLED    = $(if $(filter 1,$(shell cat $(STAMP))),$(COMPILED),$(INTERPRETED))

.PHONY: help install run test test-deps check check-pamqp static check-compiled live differential client-suites chaos soak fuzz sim sim-mutants bench bench-features bench-depth bench-stragglers bench-delays bench-neighbours format lock clean

help:
	@echo 'make install         venv in .venv with the compiled package and everything tests need'
	@echo 'make run             broker on 127.0.0.1:5672, data in ./data (ARGS="..." are flags of amqpd serve)'
	@echo 'make test            everything that CI checks; make test-deps: the Debian packages for it, where it may'
	@echo 'make check           the fast part, interpreted: format, lint, types, layers, unit, behaviour'
	@echo 'make check-compiled  the same tests on the compiled core'
	@echo 'make check-pamqp     those of them that go through pamqp, with pamqp 3.3'
	@echo 'make live            real broker process, real client libraries'
	@echo 'make differential    the same transcript as RabbitMQ (needs rabbitmq-server)'
	@echo 'make client-suites   the clients'"'"' own test suites (SUITES="aio-pika kombu ...")'
	@echo 'make chaos           kill -9 under confirmed load, again and again (CYCLES=50)'
	@echo 'make soak            the same for MINUTES=10, with sums as it goes'
	@echo 'make fuzz            mutated frame streams into the compiled core (STREAMS=1000000)'
	@echo 'make sim             crashes at any point, simulated (SEEDS=1000, or SEED=n for the story of one)'
	@echo 'make sim-mutants     bugs put in on purpose, and how many seeds it takes to find each'
	@echo 'make bench           load a local broker, print a table; beside RabbitMQ where one is installed'
	@echo 'make bench-depth     millions of messages in queues, kill -9 and restart; make bench-stragglers: disk space'
	@echo 'make bench-features  what TTL, dead letters and priorities cost; make bench-delays: millions that wait'
	@echo 'make bench-neighbours  what a quiet client feels while others do their worst; beside RabbitMQ'
	@echo 'AMQPD_PURE=1 make X  without compilation'

SAY := printf 'amqpd: %s\n'
PIP := $(BIN)/python -m pip
PIP_INSTALL := $(PIP) install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# The words of pyproject.toml, each in quotes: what serving needs, and one of its dependency groups.
PROJECT := import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))
SERVING := $(PYTHON) -c '$(PROJECT); print(*map(repr, project["project"]["dependencies"]))'
BUILDING := $(PYTHON) -c '$(PROJECT); print(*map(repr, project["dependency-groups"]["build"]))'

# The environment with what `amqpd serve` imports, and setuptools, which packs it.
$(VENV)/.serving: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import tomllib' 2>/dev/null || { $(SAY) '$(PYTHON) is not Python 3.11 or newer: make PYTHON=...' >&2; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || { $(SAY) 'making a Python environment in $(VENV)' && \
		{ $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
			{ $(SAY) '$(PYTHON) can make none: on Debian, apt-get install python3-venv' >&2; exit 1; }; } && \
		$(PYTHON) -m venv $(VENV); }
	@$(SAY) 'installing what serving needs'
	@eval $(PIP_INSTALL) $$($(SERVING)) "'setuptools>=77'"
	@touch $@

$(VENV)/.building: $(VENV)/.serving
	@$(SAY) 'installing what compiling needs'
	@eval $(PIP_INSTALL) $$($(BUILDING))
	@touch $@

$(VENV)/.tools: $(VENV)/.serving
	@$(SAY) 'installing what tests need'
	@$(PIP_INSTALL) --upgrade 'pip>=25.1'
	@$(PIP_INSTALL) --group dev
	@touch $@

# The stamp says what was built: 1 compiled, 0 interpreted, which a machine without a C compiler gets.
# What an earlier build left of modules that are gone would be packed again: only the compiled group is kept.
$(STAMP): $(VENV)/.serving $(SOURCES) setup.py
	@rm -rf build/lib*/amqpd build/bdist* build/wheel $(VENV)/.installed-*
	@mkdir -p build
	@test -n "$$($(BIN)/python setup.py why_not_compiled)" || $(MAKE) --no-print-directory $(VENV)/.building
	@AMQPD_SAY_TO=3 $(BIN)/python -c 'from setuptools.build_meta import build_wheel; build_wheel("build/wheel")' \
		3>&1 >build/build.log 2>&1 || { tail -n 40 build/build.log; $(SAY) 'the build failed: see build/build.log'; exit 1; } >&2
	@$(PIP_INSTALL) --no-deps --force-reinstall build/wheel/*.whl
	@case "$$(echo build/wheel/*.whl)" in (*-none-any.whl) echo 0;; (*) echo 1;; esac >$@

install: $(VENV)/.tools $(STAMP)

run: $(STAMP)
	@exec $(BIN)/amqpd serve --data-dir ./data $(ARGS)

static: $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: static
	$(INTERPRETED) $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m 'not slow' $(FAST) $(ARGS)

check-compiled: $(VENV)/.tools $(STAMP)
	$(INSTALLED) $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m 'not slow' $(FAST) $(ARGS)

live: $(VENV)/.tools $(STAMP)
	$(INSTALLED) $(BIN)/python -m pytest -q tests/live $(ARGS)

differential: $(VENV)/.tools $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/differential/run $(ARGS)

client-suites: $(VENV)/.tools $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/suites/run-all $(SUITES)

# The tests' own code comes from the checkout, and only it: the broker is the installed one.
CHECKOUT_MODULE := import runpy, sys; sys.path.append("$(CURDIR)"); runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)

chaos: $(VENV)/.tools $(STAMP)
	$(INSTALLED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.chaos.kill9 --cycles $(CYCLES) $(ARGS)

soak: $(VENV)/.tools $(STAMP)
	$(INSTALLED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.chaos.soak --minutes $(MINUTES) $(ARGS)

fuzz: $(VENV)/.tools $(STAMP)
	$(INSTALLED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.fuzz.run_streams --count $(STREAMS) $(ARGS)

# SEED=n tells the story of one seed; otherwise SEEDS of them are played, beginning with FIRST, on all cores.
sim: $(VENV)/.tools $(STAMP)
	$(INSTALLED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST)) $(ARGS)

# The source tree: a compiled core can't be patched.
sim-mutants: $(VENV)/.tools
	$(INTERPRETED) $(BIN)/python -m tests.sim --mutants --seeds 2000 $(ARGS)

bench: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python bench/run $(ARGS)

bench-features: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python bench/features $(ARGS)

bench-depth: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python bench/depth $(ARGS)

bench-stragglers: $(STAMP)
	$(BIN)/python bench/stragglers $(ARGS)

bench-delays: $(STAMP)
	$(BIN)/python bench/delays $(ARGS)

bench-neighbours: $(STAMP)
	$(BIN)/python bench/neighbours $(ARGS)

# What is built without a compiler is built again when there is one.
test-deps:
	@.ci/test-deps || { test $$? = 10 && rm -f $(VENV)/.installed-*; }

# What is written and read through pamqp, with the older one that aio-pika 9 brings along; everything else runs with the newer.
PAMQP  := build/pamqp-3
check-pamqp: $(VENV)/.tools $(STAMP)
	@test -d $(PAMQP) || $(PIP) install --quiet --disable-pip-version-check --no-deps --target $(PAMQP) 'pamqp>=3.3,<4'
	@$(INSTALLED) PYTHONPATH=$(CURDIR)/$(PAMQP) $(BIN)/python -c \
		'import pamqp; assert pamqp.__version__.startswith("3.3"), pamqp.__file__'
	$(INSTALLED) PYTHONPATH=$(CURDIR)/$(PAMQP) $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m 'not slow' \
		tests/unit/wire tests/unit/connections tests/unit/channels tests/unit/cli tests/behaviour tests/fuzz/test_methods.py

# The last line is pytest's own summary of the compiled run; a failure anywhere before it stops here.
test: test-deps static $(VENV)/.tools $(STAMP)
	$(INTERPRETED) $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) $(FAST)
	@$(MAKE) --no-print-directory check-pamqp
	$(INSTALLED) $(BIN)/python -m pytest -q $(if $(filter $(COMPILED),$(INSTALLED)),$(FAST)) $(SLOW)

format: $(VENV)/.tools
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Resolve anew in an empty venv and write down what was chosen.
lock:
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/lock/bin/python -m pip install --quiet --group dev \
		$(shell $(PYTHON) -c 'import tomllib; print(*(repr(d) for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))')
	(echo '# Written by `make lock`: the versions that the tests ran with.'; \
		build/lock/bin/python -m pip freeze --all --exclude pip) > constraints.txt
	rm -rf build/lock

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
