SUMMARY = "Holdfast: initrd that opens the root under dm-verity"
DESCRIPTION = "The first root, part of the boot artifact; the root's hash is put into it when a slot is made"
LICENSE = "MIT"

PACKAGE_INSTALL = "holdfast-init base-passwd busybox cryptsetup libdevmapper util-linux-findfs ${HOLDFAST_INITRD_PACKAGES}"
# Drivers of the disk, where the board's kernel does not have them built in.
HOLDFAST_INITRD_PACKAGES ?= ""
PACKAGE_EXCLUDE = "kernel-image-*"

IMAGE_FEATURES = ""
EXTRA_IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "cpio.gz"
IMAGE_NAME_SUFFIX = ""
IMAGE_ROOTFS_SIZE = "16384"
IMAGE_ROOTFS_EXTRA_SPACE = "0"
BAD_RECOMMENDATIONS += "busybox-syslog busybox-udhcpc udev-hwdb"

inherit image
