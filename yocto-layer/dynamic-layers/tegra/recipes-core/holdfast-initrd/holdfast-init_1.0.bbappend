# Which slot the firmware booted.
FILESEXTRAPATHS:prepend:holdfast := "${THISDIR}/files:"
SRC_URI:append:tegra:holdfast = " file://root.sh"

do_install:append:tegra:holdfast () {
    install -D -m 0644 ${S}/root.sh ${D}${sysconfdir}/root.sh
}
HOLDFAST_INITRD_MODULES:append:tegra:holdfast = " nvme phy-tegra194-p2u pcie-tegra194"
