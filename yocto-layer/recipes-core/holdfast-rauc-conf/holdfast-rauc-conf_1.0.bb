SUMMARY = "Holdfast: RAUC's configuration of this board, and whom it trusts"
SECTION = "base"

require recipes-holdfast/holdfast/holdfast-source.inc

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

# The certificate that boxes trust, in PEM. Whoever builds has it: no key and no certificate is in this layer. `cargo xtask bundle
# test-keys DIR` makes throw-away ones (root.pem).
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
    install -D -m 0644 ${S}/ota/system.conf/${HOLDFAST_BOARD}.conf ${D}${sysconfdir}/rauc/system.conf
    install -D -m 0644 "${HOLDFAST_KEYRING_FILE}" ${D}${sysconfdir}/rauc/keyring.pem
    if [ "${HOLDFAST_BOARD}" = jetson ]; then
        install -D -m 0755 ${S}/ota/jetson/boot-backend ${D}${nonarch_libdir}/holdfast/boot-backend
    fi
}

FILES:${PN} = "${sysconfdir} ${nonarch_libdir}/holdfast"
RPROVIDES:${PN} += "virtual-rauc-conf"
