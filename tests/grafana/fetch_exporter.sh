#!/usr/bin/env bash
# Fetches the PgBouncer exporter that the compose file names, out of Debian 13.
#
#   tests/grafana/fetch_exporter.sh FOLDER
#
# Debian 12's package of the same name is another program with other metrics, so a test
# with it would prove nothing. This puts the real one into FOLDER and installs nothing: apt works on lists and a cache of its own, and checks Debian's signatures.
set -euo pipefail

folder=$(realpath -m "$1")
package=prometheus-pgbouncer-exporter
command -v apt-get >/dev/null || {
  echo "$0: no apt-get here. Put $package 0.10 into $folder." >&2
  exit 1
}

mkdir -p "$folder"/apt/{lists,cache/archives}/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
  "http://deb.debian.org/debian trixie main" >"$folder/apt/sources.list"
own=(
  -o "Dir::Etc::sourcelist=$folder/apt/sources.list"
  -o Dir::Etc::sourceparts=/dev/null
  -o "Dir::State::lists=$folder/apt/lists"
  -o "Dir::Cache=$folder/apt/cache"
  -o "APT::Sandbox::User=$(id -un)"
)
echo "Fetching $package of Debian 13 ..."
apt-get -qq "${own[@]}" update
(cd "$folder/apt" && apt-get -qq "${own[@]}" download "$package")
dpkg-deb --extract "$folder/apt/$package"_*.deb "$folder/apt/unpacked"
mv "$folder/apt/unpacked/usr/bin/$package" "$folder"
rm -r "$folder/apt"
touch "$folder/$package"
