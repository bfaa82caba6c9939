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
FAST   := $(wildcard tests/tidy tests/test_*.py tests/unit tests/behaviour tests/crash tests/fuzz tests/sim)
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
ifeq ($(KIND),pure)
COMPILED    := $(INTERPRETED)
endif

.PHONY: help install run test check static check-compiled live differential client-suites chaos soak fuzz sim sim-mutants bench bench-features bench-depth bench-stragglers bench-delays bench-neighbours format lock clean

help:
	@echo 'make install         venv in .venv with the compiled package and everything tests need'
	@echo 'make run             broker on 127.0.0.1:5672, data in ./data (ARGS="..." are flags of amqpd serve)'
	@echo 'make test            everything that CI checks'
	@echo 'make check           the fast part, interpreted: format, lint, types, layers, unit, behaviour'
	@echo 'make check-compiled  the same tests on the compiled core'
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

$(VENV)/.tools: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --group dev \
		$(shell $(PYTHON) -c 'import tomllib; print(*(repr(d) for d in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]))')
	@touch $@

# What an earlier build left of modules that are gone would be packed again: only the compiled group is kept.
$(STAMP): $(VENV)/.tools $(SOURCES) setup.py
	@rm -rf build/lib*/amqpd build/bdist* $(VENV)/.installed-*
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall .
	@touch $@

install: $(STAMP)

run: $(STAMP)
	@exec $(BIN)/amqpd serve --data-dir ./data $(ARGS)

static: $(VENV)/.tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: static
	$(INTERPRETED) $(BIN)/python -m pytest -q -m 'not slow' $(FAST) $(ARGS)

check-compiled: $(STAMP)
	$(COMPILED) $(BIN)/python -m pytest -q -m 'not slow' $(FAST) $(ARGS)

live: $(STAMP)
	$(COMPILED) $(BIN)/python -m pytest -q tests/live $(ARGS)

differential: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/differential/run $(ARGS)

client-suites: $(STAMP)
	PATH="$(CURDIR)/$(BIN):$$PATH" tests/suites/run-all $(SUITES)

# The tests' own code comes from the checkout, and only it: the broker is the installed one.
CHECKOUT_MODULE := import runpy, sys; sys.path.append("$(CURDIR)"); runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)

chaos: $(STAMP)
	$(COMPILED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.chaos.kill9 --cycles $(CYCLES) $(ARGS)

soak: $(STAMP)
	$(COMPILED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.chaos.soak --minutes $(MINUTES) $(ARGS)

fuzz: $(STAMP)
	$(COMPILED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.fuzz.run_streams --count $(STREAMS) $(ARGS)

# SEED=n tells the story of one seed; otherwise SEEDS of them are played, beginning with FIRST, on all cores.
sim: $(STAMP)
	$(COMPILED) $(BIN)/python -c '$(CHECKOUT_MODULE)' tests.sim $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --first $(FIRST)) $(ARGS)

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

# The last line is pytest's own summary of the compiled run; a failure anywhere before it stops here.
test: static $(STAMP)
	$(INTERPRETED) $(BIN)/python -m pytest -q $(FAST)
	$(COMPILED) $(BIN)/python -m pytest -q $(FAST) $(SLOW)

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
