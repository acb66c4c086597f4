#!/bin/sh
# Makes a repository that Home Assistant takes, in a folder of its own: this one, with nanofleet's wheel and a model.
#     assemble.sh FOLDER [MODEL [--weights FILE …]]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
model=${2:-mobilenet_v2}
shift "$(($# > 1 ? 2 : 1))"

app=$folder/nanofleet
mkdir -p "$folder"
cp -R "$here/repository.yaml" "$here/nanofleet" "$folder"
rm -rf "$app/wheels" "$app/models"
mkdir "$app/models"
python3 -m pip wheel --quiet --no-deps --wheel-dir "$app/wheels" "$here/../.."
nanofleet models export "$model" "$app/models/$(basename "$model").onnx" "$@"
