#!/bin/sh
# launch.sh KIND PROGRAM [ARGUMENTS]: what the npm scripts call. First everything that a command of this
# kind needs is installed (scripts/prepare.mjs, which runs on the Node.js found), then the program
# takes this shell's place, run by the newest Node.js at hand. So signals and the exit code are its own.
# setpriv: should this shell be killed while it installs, the installation stops too.
cd "$(dirname "$0")/.." || exit 70
kind=$1
shift
# npm puts our own Node.js first, which may lack a library that is only now installed.
PATH=${PATH#"$PWD/node_modules/.bin:"}
if command -v setpriv >/dev/null; then
  setpriv --pdeathsig TERM -- node scripts/prepare.mjs "$kind" "$@" || exit
else
  node scripts/prepare.mjs "$kind" "$@" || exit
fi
PATH=$PWD/node_modules/.bin:$PATH
export PATH
exec env node "$@"
