# shellcheck shell=bash
# Sourced by start_mlflow_and_server.sh and scripts/check:
#   ddx_environment FOLDER FILE   makes FOLDER/.venv hold what FILE locks, and this project.
# Does nothing where it already does. Needs Python 3.11 or later and a package index; no root.

_ddx_say() { printf 'ddx: %s\n' "$*" >&2; }
_ddx_fail() {
    printf 'error: %s\nadvice: %s\n' "$1" "$2" >&2
    exit 1
}

ddx_environment() {
    local home=$1 file=$2
    local venv=$home/.venv
    local stamp=$venv/.installed-$file
    local wanted
    wanted=$(_ddx_digest "$home" "$file")
    if [ -x "$venv/bin/ddx" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    _ddx_venv "$home" "$venv"
    _ddx_say "installing the packages of $file (the first time takes a minute or two)"
    # Compiled now, once, and not by each process at its start.
    UV_COMPILE_BYTECODE=1 _ddx_install "$venv" --require-hashes --no-deps -r "$home/$file"
    # hatchling is among them: the build fetches nothing.
    _ddx_install "$venv" --no-deps --no-build-isolation -e "$home"
    printf '%s\n' "$wanted" >"$stamp"
    _ddx_say "installed in .venv"
}

# What the installation depends on: the place, the locks, and what makes our own package.
_ddx_digest() {
    (cd "$1" && printf '%s\n' "$1" &&
        cat "$2" requirements.txt pyproject.toml src/ddx_environment.pth) |
        sha256sum | cut -d ' ' -f 1
}

_ddx_venv() {
    local home=$1 venv=$2 python
    # A folder that was moved or copied has scripts that point to the old place.
    if [ -x "$venv/bin/ddx" ] && ! grep -qF "$venv/bin/" "$venv/bin/ddx"; then
        _ddx_say ".venv was made in another folder: making it anew"
        rm -rf "$venv"
    fi
    if "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        return
    fi
    rm -rf "$venv"
    python=$(_ddx_python) || python=
    if [ -n "$python" ] && "$python" -m venv "$venv" >/dev/null 2>&1; then
        _ddx_say "made .venv with $("$python" --version)"
        return
    fi
    rm -rf "$venv" # Debian's python3 without python3-venv leaves half of one
    if uv --version >/dev/null 2>&1; then
        uv venv --quiet --seed --python '>=3.11' "$venv"
        _ddx_say "made .venv with uv"
        return
    fi
    if [ -z "$python" ]; then
        _ddx_fail "there is no Python 3.11 or later." \
            "On Debian 12: apt-get install python3 python3-venv. Or install uv."
    fi
    _ddx_fail "$python cannot make a virtual environment: its venv module is missing." \
        "On Debian: apt-get install python3-venv. Or install uv. Then start this again."
}

_ddx_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Install with uv, ten times faster; with pip where uv cannot be had or fails.
_ddx_install() {
    local venv=$1 uv
    shift
    if uv=$(_ddx_uv "$venv") && (
        _ddx_pip_settings_for_uv "$venv"
        "$uv" pip install --python "$venv/bin/python" "$@"
    ); then
        return
    fi
    _ddx_say "going on with pip, which takes longer"
    "$venv/bin/python" -m pip install "$@" ||
        _ddx_fail "the installation failed; the lines above say why." \
            "Check the way to the package index (pip config list), then start this again."
}

_ddx_uv() {
    local venv=$1
    if [ ! -x "$venv/bin/uv" ]; then
        if uv --version >/dev/null 2>&1; then
            command -v uv
            return
        fi
        # Its own lines of the lock: version and hashes.
        local lock
        lock=$(mktemp)
        sed -n '/^uv==/,/[^\\]$/p' "$venv/../requirements.txt" >"$lock"
        "$venv/bin/python" -m pip install --quiet --require-hashes --no-deps -r "$lock" >&2 || true
        rm -f "$lock"
    fi
    [ -x "$venv/bin/uv" ] && printf '%s\n' "$venv/bin/uv"
}

# uv does not read pip's settings. Where this machine has some, they say how to reach an index.
_ddx_pip_settings_for_uv() {
    local venv=$1 name value
    while IFS='=' read -r name value; do
        value=${value#\'}
        value=${value%\'}
        value=${value//\\n/ }
        case ${name##*.} in
            index-url) export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$value} ;;
            extra-index-url) export UV_INDEX=${UV_INDEX:-$value} ;;
            find-links) export UV_FIND_LINKS=${UV_FIND_LINKS:-${value// /,}} ;;
            cert) export SSL_CERT_FILE=${SSL_CERT_FILE:-$value} ;;
            no-index) export UV_NO_INDEX=${UV_NO_INDEX:-$value} ;;
        esac
    done < <("$venv/bin/python" -m pip config list 2>/dev/null || python3 -m pip config list 2>/dev/null)
    # As pip: the hashes say which file it is, whichever index has it.
    export UV_INDEX_STRATEGY=${UV_INDEX_STRATEGY:-unsafe-best-match}
}
