SUMMARY = "Holdfast: the initrd's only program"
DESCRIPTION = "Opens the root under dm-verity, gives the box its identity, becomes the system"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# The virtual appliance takes it from there, too.
# nooelint: oelint.vars.fileextrapaths
FILESEXTRAPATHS:prepend := "${THISDIR}/../holdfast-system/initrd:"
SRC_URI = "file://init"
S = "${UNPACKDIR}"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install () {
    install -m 0755 ${S}/init ${D}/init
    # Where it mounts.
    install -d ${D}/data ${D}/dev ${D}${sysconfdir} ${D}/proc ${D}/run ${D}/sys ${D}/sysroot
    printf '%s\n' ${HOLDFAST_INITRD_MODULES} >${D}${sysconfdir}/modules
}

# Loaded before anything is mounted; what the kernel has built in is none.
HOLDFAST_INITRD_MODULES ?= "dm-verity squashfs ext4"

PACKAGE_ARCH = "${MACHINE_ARCH}"
FILES:${PN} = "/"
RDEPENDS:${PN} = "busybox cryptsetup libdevmapper util-linux-findfs"
