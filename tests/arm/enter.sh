# Runs COMMAND in an aarch64 system: sh enter.sh ROOT FOLDER COMMAND...
# To be run in user and mount namespaces of its own (unshare), which end with COMMAND: no mount and no
# interpreter's registration is left, or seen by anybody else meanwhile.
#
# FOLDER is there in the system as well, under the same path. FOLDER/cpuinfo is what /proc/cpuinfo says there:
# ONNX Runtime looks up the core in it, and crashes on that of an x86.
set -eu
ulimit -c 0 # a program that dies here leaves no core in the system
root=$1 folder=$2
shift 2

mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || {
    echo "this kernel registers no interpreters in a namespace: Linux 6.7 or later is needed" >&2
    exit 1
}
# The header of an ELF file of 64 bits for aarch64; F: opened now, as it is not there once the root has changed.
header='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":aarch64:M::$header:$mask:$(command -v qemu-aarch64-static):F" >/proc/sys/fs/binfmt_misc/register

for each in proc sys dev; do
    mkdir -p "$root/$each"
    mount --rbind "/$each" "$root/$each"
done
mount --bind "$folder/cpuinfo" "$root/proc/cpuinfo"
mount -t tmpfs tmpfs "$root/tmp"
mkdir -p "$root$folder"
mount --bind "$folder" "$root$folder"

exec env -i -C / PATH=/usr/sbin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 \
    QEMU_CPU="$QEMU_CPU" QEMU_PAGESIZE="$QEMU_PAGESIZE" chroot "$root" "$@"
