#!/bin/sh
# The first process of a rig: builds a root that nothing can leak from, then becomes systemd.
#
# Runs in fresh mount, pid, cgroup, uts, ipc and net namespaces. $1: an empty directory to work in; $2: the directory whose
# contents are laid over this machine's files; $3: the directory with the socket `notify`, on which systemd says that it is up;
# $4: a directory that is to be /run/host/disk, or nothing.
set -eu
work=$1 tree=$2 outside=$3 disk=$4

mount -t tmpfs -o mode=755 rig "$work"
mkdir "$work/upper" "$work/overlay" "$work/root"
# Copied, not stacked as a second lower layer: overlayfs refuses a layer that lies within another, and the tree does.
cp -a "$tree/." "$work/upper/"
mount -t overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/overlay" overlay "$work/root"
cd "$work/root"

# A kernel interface is either namespaced, or read-only.
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
# Each boot is one, though the kernel goes on.
cat /proc/sys/kernel/random/uuid > "$work/boot_id"
mount --bind "$work/boot_id" proc/sys/kernel/random/boot_id
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

# What belongs to this machine and not to the rig: its state, its journal, its people, its other filesystems.
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
for directory in home root srv mnt media var/log var/tmp; do
    [ ! -d "$directory" ] || [ -L "$directory" ] || mount -t tmpfs -o mode=755 hidden "$directory"
done
mkdir -p run/host run/systemd/system
mount --bind "$outside" run/host
if [ -n "$disk" ]; then
    mkdir -p run/host/disk
    mount --bind "$disk" run/host/disk
fi

# A machine of its own, whose users and files systemd has yet to set up: as after an installation.
tr -d - < /proc/sys/kernel/random/uuid > etc/machine-id
rm -f etc/.updated var/.updated
[ -e "$tree/etc/fstab" ] || : > etc/fstab

# What sets up hardware, a kernel or caches: the machine around has done so, or the rig needs none.
mask() {
    ln -s /dev/null "run/systemd/system/$1"
}
for unit in binfmt firstboot hwdb-update journal-catalog-update journal-flush modules-load pstore random-seed remount-fs \
    sysctl timesyncd udev-settle udev-trigger udevd update-done update-utmp; do
    mask "systemd-$unit.service"
done
for unit in ldconfig.service timers.target cryptsetup.target integritysetup.target veritysetup.target \
    systemd-initctl.socket systemd-journald-audit.socket systemd-udevd-control.socket systemd-udevd-kernel.socket \
    dev-hugepages.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount sys-kernel-config.mount \
    proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount; do
    mask "$unit"
done

# Instead of the machine's default target, which would start all that is enabled on it.
cat > run/systemd/system/rig.target <<'UNIT'
[Unit]
Description=What the rig needs
Requires=basic.target dbus.socket
After=basic.target dbus.socket
UNIT

mkdir .around
pivot_root . .around
umount -l .around
rmdir .around

export container=holdfast-rig NOTIFY_SOCKET=/run/host/notify
systemd=/usr/lib/systemd/systemd
[ -x "$systemd" ] || systemd=/lib/systemd/systemd
exec "$systemd" --system --unit=rig.target --log-target=console --show-status=0
