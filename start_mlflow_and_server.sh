#!/usr/bin/env bash
# Install what is needed into .venv (the first time only), then start MLflow and the server.
# Options go to `ddx up`; --help lists them.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)
# shellcheck source=scripts/environment.sh
. "$here/scripts/environment.sh"
ddx_environment "$here" requirements.txt

export DDX_HOME=${DDX_HOME:-$here}
exec "$here/.venv/bin/ddx" up "$@"
