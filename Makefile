# InferFlux. `make` alone prints the targets.

GO            ?= go
BIN           := bin
CACHE         := .cache
TOOLS         := $(CURDIR)/$(CACHE)/tools
GOLANGCI      := $(TOOLS)/golangci-lint
GOLANGCI_VER  := v2.15.0
FUZZTIME      ?= 60s
VERSION       ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS       := -s -w -X main.version=$(VERSION)
PLATFORMS     := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
NODE_CLIENT   := api/openai/testdata/node
# MLX's CPU library for the tests, installed by our own installer.
MLX_HOME      := $(CURDIR)/$(CACHE)/mlx
# The real model that tests and the quick start use, by its name in our registry.
MODEL         ?= smollm2:135m

# The product has no cgo; only the race detector needs it.
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help build quickstart test race test-arm64 fuzz soak bench lint generate cross clean

help: ## Print this list
	@echo "InferFlux: build, try and test. Targets:"
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/inferfluxd and bin/inferctl
	@mkdir -p $(BIN)
	@echo "building $(BIN)/inferfluxd and $(BIN)/inferctl (the first time takes about a minute)"
	@$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/inferfluxd ./cmd/inferctl

quickstart: build ## Get a small model, start the server, ask it a question (BACKEND=mlx: on that backend)
	@$(BIN)/inferctl quickstart $(if $(BACKEND),--backend $(BACKEND))

test: build $(NODE_CLIENT)/node_modules/.stamp ## Run the tests, with the real model, the official clients and MLX
	@$(BIN)/inferctl pull $(MODEL)
	@mlx=$$(scripts/test-mlx $(MLX_HOME)) && \
	  INFERFLUX_TEST_MODEL="$$($(BIN)/inferctl models path $(MODEL))" INFERFLUX_TEST_MLX_LIBRARY="$$mlx" $(GO) test ./...

$(NODE_CLIENT)/node_modules/.stamp: $(NODE_CLIENT)/package-lock.json
	@if command -v npm >/dev/null; then echo "installing the official Node client for the tests"; \
	  npm ci --prefix $(NODE_CLIENT) --no-audit --no-fund --loglevel=error && touch $@; \
	else echo "npm is not installed: the tests of the Node client will be skipped"; fi

race: build ## Run the short tests under the race detector, with books checked (needs a C compiler)
	@if command -v cc >/dev/null; then mlx=$$(scripts/test-mlx $(MLX_HOME)) && \
	  CGO_ENABLED=1 INFERFLUX_TEST_MLX_LIBRARY="$$mlx" $(GO) test -race -short -tags invariants -skip Allocation ./...; \
	else echo "skipped: the race detector needs a C compiler (cc), and there is none"; fi

test-arm64: ## Run the tests of the CPU kernels on arm64 (under qemu elsewhere)
	@GO='$(GO)' scripts/test-arm64 $(CACHE)/qemu

fuzz: ## Run every fuzz target for FUZZTIME (60s)
	@GO='$(GO)' scripts/fuzz $(FUZZTIME)

soak: build ## Send the server 20,000 requests, good and bad, and see that answers are right and nothing grows
	@$(GO) run ./scripts/soak -log $(CACHE)/soak.log -model $(if $(SOAK_MODEL),$(SOAK_MODEL),model/testdata/llama-gqa-tied.gguf) $(SOAK_FLAGS)

bench: build ## Measure prompt and generation speed with the real model
	@$(BIN)/inferctl pull $(MODEL)
	@$(BIN)/inferctl bench -m $(MODEL)

lint: $(GOLANGCI) ## Check format, vet and linters
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "not gofmt-clean:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	@$(GO) vet ./...
	@$(GOLANGCI) run ./...

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VER) into $(TOOLS) (once, about three minutes)"
	@mkdir -p $(TOOLS)
	@GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VER)

generate: ## Write the files that are made from code (docs/Configuration.md, config/server.yaml, docs/CLI.md, docs/API.md)
	@$(GO) generate ./...

cross: ## Build for linux and darwin, amd64 and arm64
	@set -e; for p in $(PLATFORMS); do echo "building for $$p"; \
	  GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./...; done

clean: ## Remove what the other targets made here (models under ~/.inferflux stay)
	@rm -rf $(BIN) $(CACHE) $(NODE_CLIENT)/node_modules
