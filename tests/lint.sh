#!/bin/sh
# Every linter of the project, as CI runs them; tools are pinned in requirements-dev.txt.
set -eu
cd "$(dirname "$0")/.."
ruff check .
ruff format --check .
mypy ./*.py data_prepare recipes hogwild comparing
pydoclint --style=numpy --quiet --config=pyproject.toml data_prepare recipes hogwild comparing
yamllint --strict .
codespell .
git ls-files -- '*.sh' .ci/run | xargs shellcheck
