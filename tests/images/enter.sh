# Runs one command as a container would: in mounts and processes of its own, in an image's root.
# The caller starts it in new mount and pid namespaces (unshare), with:
#   ROOT     the root; WRITABLE=1 leaves it writable
#   BINDS    lines "source target ro|rw";  TMPFS  lines "target options"
#   ACCOUNT  uid:gid;  CAPS  as setpriv's --bounding-set;  FOLDER  the working directory
# and the command with its environment as `NAME=value … command …`.
set -eu
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/tmp"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
for device in null zero full random urandom; do
  touch "$ROOT/dev/$device"
  mount --bind "/dev/$device" "$ROOT/dev/$device"
done
ln -s /proc/self/fd "$ROOT/dev/fd"
mkdir "$ROOT/dev/shm"
while read -r target options; do
  [ -z "$target" ] || { mkdir -p "$ROOT$target"; mount -t tmpfs -o "$options" tmpfs "$ROOT$target"; }
done <<< "$TMPFS"
while read -r source target mode; do
  [ -n "$source" ] || continue
  if [ -d "$source" ]; then mkdir -p "$ROOT$target"; else touch "$ROOT$target"; fi
  mount --bind "$source" "$ROOT$target"
  [ "$mode" = rw ] || mount -o "remount,bind,$mode" "$ROOT$target"
done <<< "$BINDS"
mount -t proc proc "$ROOT/proc"
[ "${WRITABLE:-0}" = 1 ] || mount -o remount,bind,ro "$ROOT"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$ROOT" setpriv --reuid "${ACCOUNT%:*}" --regid "${ACCOUNT#*:}" --clear-groups \
  --no-new-privs --bounding-set "$CAPS" --inh-caps "$CAPS" env --chdir="$FOLDER" -i "$@"
