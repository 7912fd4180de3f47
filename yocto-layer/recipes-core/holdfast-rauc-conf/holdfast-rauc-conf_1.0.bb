SUMMARY = "Holdfast: RAUC's configuration of this board, and whom it trusts"
DESCRIPTION = "system.conf, fw_env.config and keyring, and what holds RAUC in check, as cargo xtask install --board has it"
SECTION = "base"

require recipes-holdfast/holdfast-programs/holdfast-source.inc
# Written by `cargo xtask yocto generate`; not committed.
# nooelint: oelint.file.requireinclude
include recipes-holdfast/holdfast-programs/holdfast-files.inc

HOLDFAST_BOARD_FILES = "${@d.getVar('HOLDFAST_FILES_' + (d.getVar('HOLDFAST_BOARD') or '').upper()) or ''}"

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

# The certificate that boxes trust, in PEM. Whoever builds has it: no key and no certificate is in this layer. `cargo xtask bundle
# test-keys DIR` makes throw-away ones (keyring.pem).
HOLDFAST_KEYRING_FILE ?= ""
do_install[file-checksums] += "${@d.getVar('HOLDFAST_KEYRING_FILE') + ':True' if d.getVar('HOLDFAST_KEYRING_FILE') else ''}"

python () {
    if not d.getVar('HOLDFAST_BOARD'):
        raise bb.parse.SkipRecipe('HOLDFAST_BOARD is not set for %s: see conf/machine/include/holdfast-board.inc' % d.getVar('MACHINE'))
}

do_install () {
    if [ ! -f "${HOLDFAST_KEYRING_FILE}" ]; then
        bbfatal "HOLDFAST_KEYRING_FILE (\"${HOLDFAST_KEYRING_FILE}\") names no certificate: set it to what boxes shall trust; cargo xtask bundle test-keys makes one to try with"
    fi
    install -D -m 0644 "${HOLDFAST_KEYRING_FILE}" ${D}${sysconfdir}/rauc/keyring.pem
    # Each as from:to:mode; of the table in xtask/src/install.rs.
    for file in ${HOLDFAST_BOARD_FILES}; do
        from=${file%%:*}
        rest=${file#*:}
        install -D -m "${rest#*:}" "${S}/$from" "${D}/${rest%%:*}"
    done
    install -d ${D}${sysconfdir}/systemd/system
    for unit in ${HOLDFAST_MASKED}; do
        ln -s /dev/null ${D}${sysconfdir}/systemd/system/$unit
    done
}

FILES:${PN} = "${sysconfdir} ${nonarch_libdir}"
RPROVIDES:${PN} += "virtual-rauc-conf"
