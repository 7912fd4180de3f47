# The image of a slot: one file, written to a partition that is at least as large.
#
#   0                      FIT: kernel, device tree, and an initrd that carries the root's hash; room for HOLDFAST_BOOT_MIB
#   HOLDFAST_BOOT_MIB      filesystem (squashfs), read-only
#   behind it              its dm-verity hash tree, with superblock
#
# So kernel and root are always of one build, are switched in one step, and a signed FIT vouches for every block of the root. The FIT
# lies where a boot loader finds it by the partition alone. Jetson's firmware takes its boot artifact from a partition of its own: see
# holdfast_tegra.bbclass.
#
#   IMAGE_FSTYPES += "verity"    filesystem and hash tree; beside it .verity.env
#   IMAGE_FSTYPES += "slot"      the whole

inherit kernel-arch

IMAGE_TYPES += "verity slot"

HOLDFAST_INITRD ?= "holdfast-initrd"
HOLDFAST_SLOT_MIB ?= "1024"
HOLDFAST_BOOT_MIB ?= "64"
# Device trees of the FIT; boards whose firmware hands one over have none.
HOLDFAST_FIT_DTBS ?= "${@' '.join(os.path.basename(dtb) for dtb in (d.getVar('KERNEL_DEVICETREE') or '').split() if dtb.endswith('.dtb'))}"
HOLDFAST_FIT_LOADADDRESS ?= "0x0a000000"
HOLDFAST_FIT_LOADADDRESS:qemuarm64 ?= "0x48000000"

IMAGE_TYPEDEP:verity = "squashfs-zst"
do_image_verity[depends] += "cryptsetup-native:do_populate_sysroot"
IMAGE_CMD:verity () {
    image=${IMGDEPLOYDIR}/${IMAGE_NAME}.verity
    cp ${IMGDEPLOYDIR}/${IMAGE_NAME}.squashfs-zst "$image"
    truncate -s %4096 "$image"
    offset=$(stat -c %s "$image")
    # The salt may be known, and must not differ from build to build.
    salt=$(sha256sum "$image" | cut -d ' ' -f 1)
    uuid=$(echo "$salt" | sed -E 's/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*/\1-\2-4\3-8\4-\5/')
    veritysetup format "$image" "$image" --hash=sha256 --data-block-size=4096 --hash-block-size=4096 \
        --data-blocks=$(expr "$offset" / 4096) --hash-offset="$offset" --salt="$salt" --uuid="$uuid" >"$image.txt"
    hash=$(sed -n 's/^Root hash:[[:space:]]*//p' "$image.txt")
    rm "$image.txt"
    if [ -z "$hash" ]; then
        bbfatal "veritysetup told no root hash"
    fi
    printf 'ROOT_HASH=%s\nHASH_OFFSET=%s\n' "$hash" "$offset" >"$image.env"
    ln -sf ${IMAGE_NAME}.verity.env ${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.verity.env
}

IMAGE_TYPEDEP:slot = "verity"
do_image_slot[depends] += " \
    virtual/kernel:do_deploy \
    ${HOLDFAST_INITRD}:do_image_complete \
    u-boot-tools-native:do_populate_sysroot \
    dtc-native:do_populate_sysroot \
    cpio-native:do_populate_sysroot \
"
UBOOT_SIGN_ENABLE ??= "0"
UBOOT_SIGN_KEYDIR ??= ""
UBOOT_SIGN_KEYNAME ??= ""
IMAGE_CMD:slot () {
    work=${WORKDIR}/holdfast-slot
    holdfast_initrd "$work" "$work/initrd" ${HOLDFAST_BOOT_MIB}
    gzip -9 -n -c ${DEPLOY_DIR_IMAGE}/Image >"$work/kernel"

    holdfast_fit_source "$work" >"$work/fit.its"
    uboot-mkimage -f "$work/fit.its" "$work/fit"
    if [ "${UBOOT_SIGN_ENABLE}" = "1" ]; then
        uboot-mkimage -F -k "${UBOOT_SIGN_KEYDIR}" -r "$work/fit"
    fi

    boot=$(expr ${HOLDFAST_BOOT_MIB} \* 1048576)
    if [ "$(stat -c %s "$work/fit")" -gt "$boot" ]; then
        bbfatal "kernel, initrd and device trees take more than HOLDFAST_BOOT_MIB (${HOLDFAST_BOOT_MIB}): raise it, for U-Boot too"
    fi
    slot=${IMGDEPLOYDIR}/${IMAGE_NAME}.slot
    cp "$work/fit" "$slot"
    truncate -s "$boot" "$slot"
    cat ${IMGDEPLOYDIR}/${IMAGE_NAME}.verity >>"$slot"
    if [ "$(stat -c %s "$slot")" -gt "$(expr ${HOLDFAST_SLOT_MIB} \* 1048576)" ]; then
        bbfatal "the system takes more than HOLDFAST_SLOT_MIB (${HOLDFAST_SLOT_MIB}): make it smaller; slots of boxes in the field can't grow"
    fi
}

# The initrd with the hash of this root. $1: an empty directory to work in; $2: where it goes; $3: where the root begins, in MiB,
# if not where the partition does.
holdfast_initrd () {
    rm -rf "$1"
    install -d "$1/extra/etc"
    install -m 0644 ${IMGDEPLOYDIR}/${IMAGE_NAME}.verity.env "$1/extra/etc/verity"
    if [ -n "$3" ]; then
        printf 'ROOT_OFFSET=%s\nROOT_BYTES=%s\n' "$(expr "$3" \* 1048576)" "$(stat -c %s ${IMGDEPLOYDIR}/${IMAGE_NAME}.verity)" \
            >>"$1/extra/etc/verity"
    fi
    touch -d "@${SOURCE_DATE_EPOCH}" "$1/extra/etc/verity" "$1/extra/etc" "$1/extra"
    # The kernel unpacks archives one after the other.
    (cd "$1/extra" && find . | sort | cpio --reproducible -o -H newc -R 0:0 2>/dev/null | gzip -9 -n) >"$1/verity.cpio.gz"
    cat ${DEPLOY_DIR_IMAGE}/${HOLDFAST_INITRD}-${MACHINE}.cpio.gz "$1/verity.cpio.gz" >"$2"
}

# The FIT's source. $1: the directory with kernel and initrd.
holdfast_fit_source () {
    key='${UBOOT_SIGN_KEYNAME}'
    echo '/dts-v1/;'
    echo '/ {'
    echo '    description = "Holdfast ${DISTRO_VERSION} for ${MACHINE}";'
    echo '    #address-cells = <1>;'
    echo '    images {'
    echo "        kernel { description = \"Linux\"; data = /incbin/(\"$1/kernel\"); type = \"kernel\"; arch = \"${UBOOT_ARCH}\"; os = \"linux\"; compression = \"gzip\"; load = <${HOLDFAST_FIT_LOADADDRESS}>; entry = <${HOLDFAST_FIT_LOADADDRESS}>; hash { algo = \"sha256\"; }; };"
    echo "        ramdisk { description = \"initrd\"; data = /incbin/(\"$1/initrd\"); type = \"ramdisk\"; arch = \"${UBOOT_ARCH}\"; os = \"linux\"; compression = \"none\"; hash { algo = \"sha256\"; }; };"
    for dtb in ${HOLDFAST_FIT_DTBS}; do
        echo "        fdt-$dtb { description = \"$dtb\"; data = /incbin/(\"${DEPLOY_DIR_IMAGE}/$dtb\"); type = \"flat_dt\"; arch = \"${UBOOT_ARCH}\"; compression = \"none\"; hash { algo = \"sha256\"; }; };"
    done
    echo '    };'
    echo '    configurations {'
    first="${HOLDFAST_FIT_DTBS}"
    first=$(echo ${first:-none} | cut -d ' ' -f 1)
    echo "        default = \"conf-$first\";"
    for dtb in ${HOLDFAST_FIT_DTBS} none; do
        fdt="fdt = \"fdt-$dtb\";"
        signed='"kernel", "ramdisk", "fdt"'
        if [ "$dtb" = none ]; then
            # Only where the firmware hands over a device tree.
            [ "$first" = none ] || break
            fdt=''
            signed='"kernel", "ramdisk"'
        fi
        signature=''
        [ "${UBOOT_SIGN_ENABLE}" != 1 ] ||
            signature="signature { algo = \"sha256,rsa4096\"; key-name-hint = \"$key\"; sign-images = $signed; };"
        echo "        conf-$dtb { description = \"$dtb\"; kernel = \"kernel\"; ramdisk = \"ramdisk\"; $fdt $signature };"
    done
    echo '    };'
    echo '};'
}
