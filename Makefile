# The one entry to Cairn's tools. `make help` lists the targets.

PREFIX ?= /usr/local
SWIFT ?= swift
PYTHON ?= /usr/bin/python3
# A second build folder: SWIFT_FLAGS="--scratch-path .build-other"
SWIFT_FLAGS ?=
STATIC_LIBRARIES = $(CURDIR)/.build/static-libraries
# The programs of a release carry Swift's libraries, and all others but libc, in themselves: they start in half of the time and
# run where Swift is not installed. No symbols are exported, which the dynamic linker would look up; relocations are packed
# (glibc 2.36 or later); functions that run lie side by side, so that fewer pages are in memory (scripts/function-order).
RELEASE_FLAGS ?= --static-swift-stdlib --pkg-config-path $(STATIC_LIBRARIES) --disable-local-rpath \
	-Xswiftc -use-ld=lld -Xswiftc -Xclang-linker -Xswiftc -static-libgcc -Xswiftc -Xfrontend -Xswiftc -function-sections \
	-Xlinker --no-export-dynamic -Xlinker -z -Xlinker pack-relative-relocs \
	-Xlinker --symbol-ordering-file=$(CURDIR)/scripts/function-order.txt -Xlinker --no-warn-symbol-ordering

SOURCES = Package.swift Plugins Sources Tests Benchmarks iotests
PROGRAMS = cairn-storage-daemon cairn-img cairn-io
DEBUG_BIN = $(shell $(SWIFT) build $(SWIFT_FLAGS) --show-bin-path)
RELEASE_BIN = $(shell $(SWIFT) build $(SWIFT_FLAGS) -c release --show-bin-path)

.PHONY: help deps build release demo test check format check-format unit-tests client-tests iotests reference bench install clean

help:
	@echo 'make demo      a live backup of a disk that is being written, from nothing to verified'
	@echo 'make test      all tests'
	@echo 'make check     format check, build, all tests, iotests (what .ci/run does)'
	@echo 'make bench     speed side by side with qemu-storage-daemon'
	@echo 'make install   the programs, to PREFIX ($(PREFIX))'
	@echo 'make format    formats the sources'
	@echo 'make reference writes docs/qmp-reference.md from the schema'

# Installs what is missing of Debian's packages.
deps:
	@scripts/install-dependencies

build: deps
	$(SWIFT) build $(SWIFT_FLAGS) --build-tests

release: deps
	@scripts/static-libraries $(STATIC_LIBRARIES)
	for program in $(PROGRAMS); do $(SWIFT) build $(SWIFT_FLAGS) -c release $(RELEASE_FLAGS) --product $$program || exit 1; done

demo: release
	@$(PYTHON) demo/live-backup.py --daemon $(RELEASE_BIN)/cairn-storage-daemon

test: unit-tests client-tests iotests

unit-tests: build
	@scripts/swift-tests $(DEBUG_BIN)/cairnPackageTests.xctest

client-tests: build
	@scripts/python-environment
	.venv/bin/python -m unittest discover -s Tests/PythonClient -v

iotests: build
	$(PYTHON) iotests/differential/differential.py --subject $(DEBUG_BIN)/cairn-storage-daemon \
		--table docs/compatibility.md
	$(PYTHON) iotests/tools/tools.py --subject $(DEBUG_BIN)
	$(DEBUG_BIN)/cairn-iotests

check: deps check-format test

check-format:
	$(SWIFT) format lint --strict --parallel --recursive $(SOURCES)

format:
	$(SWIFT) format --in-place --parallel --recursive $(SOURCES)

reference: build
	$(DEBUG_BIN)/qapi-generator docs --output docs/qmp-reference.md qmp-schema

bench: release
	$(SWIFT) build $(SWIFT_FLAGS) -c release $(RELEASE_FLAGS) --product nbd-load
	@$(PYTHON) Benchmarks/bench.py --subject $(RELEASE_BIN)/cairn-storage-daemon

install: release
	for program in $(PROGRAMS); do \
		install -D -m 755 $(RELEASE_BIN)/$$program $(DESTDIR)$(PREFIX)/bin/$$program || exit 1; \
	done
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/cairn/LICENSE

clean:
	rm -rf .build .venv
