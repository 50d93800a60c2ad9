# Targets are the scripts in scripts/; see CONTRIBUTING.md.
.DEFAULT_GOAL := check
.PHONY: check demo demo-cluster test bench soak lint types vendor install clean

check demo demo-cluster bench soak lint types install clean:
	@scripts/$@

test:
	@scripts/test-all

vendor:
	@vendor/parallel/get
