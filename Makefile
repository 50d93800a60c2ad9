# Targets are the scripts in scripts/; see CONTRIBUTING.md.
.DEFAULT_GOAL := check
.PHONY: check demo test bench soak lint types vendor install clean

check demo bench soak lint types install clean:
	@scripts/$@

test:
	@scripts/test-all

vendor:
	@vendor/parallel/get
