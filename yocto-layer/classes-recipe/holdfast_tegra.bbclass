# Jetson: the firmware boots an image of its own kind from a partition of its own, A_kernel or B_kernel. It carries the root's hash as
# the FIT does elsewhere, and is signed with the key of UEFI secure boot (TEGRA_UEFI_DB_KEY, meta-tegra).
#
#   IMAGE_FSTYPES += "tegraboot"

IMAGE_TYPES += "tegraboot"
IMAGE_TYPEDEP:tegraboot = "verity"
do_image_tegraboot[depends] += " \
    virtual/kernel:do_deploy \
    ${HOLDFAST_INITRD}:do_image_complete \
    cpio-native:do_populate_sysroot \
    tegra-flashtools-native:do_populate_sysroot \
    ${TEGRA_UEFI_SIGNING_TASKDEPS} \
"
TEGRA_UEFI_SIGNING_TASKDEPS ??= ""
IMAGE_CMD:tegraboot () {
    holdfast_initrd "${WORKDIR}/holdfast-tegraboot" ${IMGDEPLOYDIR}/${IMAGE_NAME}.ramdisk
    oe_cbootimg ${IMAGE_NAME}.ramdisk ${IMGDEPLOYDIR}/${IMAGE_NAME}.tegraboot
    rm ${IMGDEPLOYDIR}/${IMAGE_NAME}.ramdisk
}

# What is flashed is what is updated.
IMAGE_TEGRAFLASH_FS_TYPE = "verity"
IMAGE_TEGRAFLASH_KERNEL = "${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.tegraboot"
# nooelint: oelint.vars.overrideappend
IMAGE_TYPEDEP:tegraflash-tar += "tegraboot"
