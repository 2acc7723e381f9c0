#!/usr/bin/env bash
# box.sh NAME DIR boots systemd on a copy of this machine's file system, with
# processes, mounts, network and control groups of its own. Nothing that is done in it
# remains: all writes go to memory, which is freed with the first process. DIR is an
# empty directory to mount it on.
set -euo pipefail

# Control groups first: the new namespace begins where this process is.
if [ "${3:-}" != inside ]; then
	hierarchies=(/sys/fs/cgroup/*/)
	[ ! -e /sys/fs/cgroup/cgroup.procs ] || hierarchies=(/sys/fs/cgroup/)
	for h in "${hierarchies[@]}"; do
		mkdir "$h$1"
		for f in cpuset.cpus cpuset.mems; do # version 1 does not inherit them
			[ ! -w "$h$1/$f" ] || cat "$h$f" >"$h$1/$f"
		done
		echo $$ >"$h$1/cgroup.procs"
	done
	exec unshare --fork --kill-child --pid --mount --ipc --uts --net --cgroup "$0" "$1" "$2" inside
fi

mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/shm dev/pts
ln -s pts/ptmx dev/ptmx
for d in null zero full random urandom tty; do
	touch "dev/$d"
	mount --bind "/dev/$d" "dev/$d"
done
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
	mount -t cgroup2 cgroup2 sys/fs/cgroup
else
	mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
	mkdir sys/fs/cgroup/unified sys/fs/cgroup/systemd
	mount -t cgroup2 cgroup2 sys/fs/cgroup/unified
	mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi

# Of the services that this machine starts at boot, only the journal.
rm -rf usr/lib/systemd/system/*.wants/* etc/systemd/system/*
printf '[Unit]\nWants=systemd-journald.service\n' >etc/systemd/system/box.target

mkdir old
pivot_root . old
umount -l old
exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	/lib/systemd/systemd --system --unit=box.target --log-target=journal
