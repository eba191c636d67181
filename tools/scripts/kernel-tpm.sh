#!/bin/sh
# Boots a virtual machine whose kernel has a TPM (swtpm behind QEMU's tpm-crb) and lets the binding "tpm" work through /dev/tpmrm0 in it.
# Needs qemu-system-x86_64, swtpm, tpm2-tools, busybox, and a kernel with CONFIG_TCG_CRB=y such as Debian's linux-image-cloud-amd64:
#   apt-get download linux-image-6.1.0-…-cloud-amd64 && dpkg -x linux-image-*.deb kernel
#   npm run test:kernel-tpm -- kernel/boot/vmlinuz-…
# ACCEL=tcg (default) takes minutes; ACCEL=kvm where virtual machines run at full speed. QEMU names another program, QEMU_OPTIONS adds to it.
set -eu
kernel=${1:?the path of a kernel image}
work=$(mktemp -d)
swtpm_pid=
trap 'test -z "$swtpm_pid" || kill "$swtpm_pid" 2>/dev/null; rm -rf "$work"' EXIT

root=$work/root
mkdir -p "$root/bin" "$root/usr/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/data" "$root/run"
npx esbuild tools/src/kernel-tpm/guest.ts --log-level=warning --bundle --platform=node --format=esm --target=node24 \
  --conditions=@azaion/source --external:systeminformation "--outfile=$root/guest.mjs" \
  "--banner:js=import{createRequire}from'node:module';const require=createRequire(import.meta.url);"
cp "$(readlink -f "$(command -v busybox)")" "$root/bin/busybox"
for name in sh mount mkdir chmod poweroff ls; do ln -s busybox "$root/bin/$name"; done
cp node_modules/node/bin/node "$root/bin/node"
cp "$(readlink -f "$(command -v tpm2)")" "$root/usr/bin/tpm2"
tcti=$(ldconfig -p | sed -n 's/.* => \(.*libtss2-tcti-device\.so\.0\)$/\1/p' | head -n 1)
for library in $(for file in "$root/bin/node" "$root/usr/bin/tpm2" "$tcti"; do ldd "$file"; done | grep -o '/[^ ]*' | sort -u) "$tcti"; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/bin:/usr/bin HOME=/tmp LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
for place in /dev/shm /tmp /data; do mount -t tmpfs tmpfs $place; chmod 1777 $place; done
ls -l /dev/tpm0 /dev/tpmrm0
node /guest.mjs 2>&1
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$work/initrd.gz"

mkdir "$work/state"
swtpm_setup --tpm2 --tpmstate "$work/state" --overwrite --pcr-banks sha256 --createek >/dev/null
swtpm socket --tpm2 --tpmstate "dir=$work/state" --ctrl "type=unixio,path=$work/ctrl" --pid "file=$work/pid" --daemon
swtpm_pid=$(cat "$work/pid")
# shellcheck disable=SC2086 -- options are several words
"${QEMU:-qemu-system-x86_64}" -machine "q35,accel=${ACCEL:-tcg}" -cpu max -m 1500 -smp 1 -nographic -no-reboot -net none \
  -kernel "$kernel" -initrd "$work/initrd.gz" -append 'console=ttyS0 panic=-1 quiet mitigations=off' \
  -chardev "socket,id=tpm,path=$work/ctrl" -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0 \
  ${QEMU_OPTIONS:-} | tee "$work/output"
grep -q '^all holds' "$work/output"
