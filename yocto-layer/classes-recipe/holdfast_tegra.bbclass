# Jetson: the firmware boots an image of its own kind from a partition of its own, A_kernel or B_kernel. It carries the root's hash as
# the FIT does elsewhere, and is signed with the key of UEFI secure boot (TEGRA_UEFI_DB_KEY, meta-tegra).
#
#   IMAGE_FSTYPES += "tegraboot"
#
# And flashing makes the data partition: an empty filesystem with its label, for the partition that
# dynamic-layers/tegra/recipes-bsp/tegra-binaries adds to NVIDIA's layout. On the box it takes the rest of the disk.

IMAGE_TYPES += "tegraboot tegradata"
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

do_image_tegradata[depends] += "e2fsprogs-native:do_populate_sysroot"
IMAGE_CMD:tegradata () {
    image=${IMGDEPLOYDIR}/${IMAGE_NAME}.tegradata
    rm -f "$image"
    truncate -s 256M "$image"
    mke2fs -q -t ext4 ${HOLDFAST_DATA_MKFS} -L holdfast-data "$image"
}

# meta-tegra's names for "what DATAFILE in a layout stands for", and where it comes from.
DATAFILE = "holdfast-data.ext4"
IMAGE_TEGRAFLASH_DATA = "${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.tegradata"

# What is flashed is what is updated.
IMAGE_TEGRAFLASH_FS_TYPE = "verity"
IMAGE_TEGRAFLASH_KERNEL = "${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.tegraboot"
# nooelint: oelint.vars.overrideappend
IMAGE_TYPEDEP:tegraflash-tar += "tegraboot tegradata"
