SUMMARY = "Holdfast: a signed update for all boards of a kind"
DESCRIPTION = "The image of a slot, signed; written to the slot that does not run by RAUC, and kept if it proves itself"
LICENSE = "MIT"

inherit bundle features_check
REQUIRED_DISTRO_FEATURES = "rauc systemd"

# As ota/system.conf/<board>.conf has it, which refuses bundles for others.
RAUC_BUNDLE_COMPATIBLE = "holdfast-${HOLDFAST_BOARD}"
RAUC_BUNDLE_VERSION = "${DISTRO_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "${DISTRO_NAME} ${DISTRO_VERSION} for ${MACHINE}"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "rootfs"

# Which image it brings: a box with the image to develop with would be shut by an update to the other (kas/dev.yml).
HOLDFAST_BUNDLE_IMAGE ?= "holdfast-image"
RAUC_SLOT_rootfs = "${HOLDFAST_BUNDLE_IMAGE}"
HOLDFAST_ROOT_TYPE = "slot"
HOLDFAST_ROOT_TYPE:tegra = "verity"
RAUC_SLOT_rootfs[fstype] = "${HOLDFAST_ROOT_TYPE}"
RAUC_SLOT_rootfs[imagetype] = "raw"
# Boxes fetch only the blocks they do not have.
RAUC_SLOT_rootfs[adaptive] = "block-hash-index"

# Jetson boots from a partition of its own (holdfast_tegra.bbclass).
RAUC_BUNDLE_SLOTS:tegra = "rootfs kernel"
RAUC_SLOT_kernel = "${HOLDFAST_BUNDLE_IMAGE}"
RAUC_SLOT_kernel[fstype] = "tegraboot"
RAUC_SLOT_kernel[imagetype] = "raw"

# Whoever builds says with what is signed: no key is in this layer. `cargo xtask bundle test-keys DIR` makes throw-away ones.
RAUC_KEY_FILE ?= ""
RAUC_CERT_FILE ?= ""
# The certificate of whoever signs in the root's stead, where somebody does: boxes know the root alone.
HOLDFAST_INTERMEDIATE_FILE ?= ""
BUNDLE_ARGS += "${@'--intermediate=' + d.getVar('HOLDFAST_INTERMEDIATE_FILE') if d.getVar('HOLDFAST_INTERMEDIATE_FILE') else ''}"
