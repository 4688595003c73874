# make demo   set-up, then the whole path on simulated patients (about 2 minutes on 2 cores); opens nothing, needs no network after set-up
# make test   set-up, then lint, types, the documentation site and every test (on 2 cores)
# make docs   set-up, then the documentation site in site/; a broken link or anchor fails
# make dist   set-up, then sdist and wheel in dist/, checked for the package index
# make label  set-up, then MONAI Label in an environment of its own beside it (a minute, 450 MB): bonemets label
# make nnunet set-up, then nnU-Net v2 in an environment of its own beside it (a minute, 470 MB): benchmarks/nnunet.py
# make viewer the page on which scans are annotated, rebuilt from its sources (needs Node 20; the built files are in the repository)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LABEL_VENV ?= .venv-label
LABEL_INSTALLED := $(LABEL_VENV)/.installed
NNUNET_VENV ?= .venv-nnunet
NNUNET_INSTALLED := $(NNUNET_VENV)/.installed

.PHONY: demo test docs dist release label nnunet viewer lint setup clean

demo: setup
	$(BIN)/python scripts/demo/demo.py

test: lint docs label
	BONEMETS_LABEL_VENV=$(abspath $(LABEL_VENV)) $(BIN)/python -m pytest -n 2 --dist loadfile --durations 40

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: setup
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

# make release URL=https://…/releases/download/vX.Y.Z: zipped bundles, weights and large_files.yml in dist/bundles
release: setup
	$(BIN)/python scripts/bundles/make_release.py dist/bundles --url $(URL)

label: setup $(LABEL_INSTALLED)

nnunet: setup $(NNUNET_INSTALLED)

viewer:
	cd apps/monailabel/viewer-src && npm ci --silent && npm run --silent check && npm run --silent build

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(INSTALLED)

# Installed once; again only when the project's own requirements change.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25"
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[sim,export,sweep,dev]"
	touch $@

# On top of the core's environment, which it does not touch.
$(LABEL_INSTALLED): $(INSTALLED) constraints-label.txt
	$(BIN)/python -m bonemets.labeling.server.environment $(LABEL_VENV)
	touch $@

# Likewise; the .pth file shows it the core's packages.
$(NNUNET_INSTALLED): $(INSTALLED) constraints-nnunet.txt
	$(BIN)/python -m venv $(NNUNET_VENV)
	$(BIN)/python -c "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))" \
	  > $$(echo $(NNUNET_VENV)/lib/python3*/site-packages)/_bonemets_core.pth
	$(NNUNET_VENV)/bin/python -m pip install --quiet --no-deps --requirement constraints-nnunet.txt
	touch $@

clean:
	rm -rf demo build dist site .mypy_cache .pytest_cache .ruff_cache
