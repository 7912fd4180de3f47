SUMMARY = "Holdfast: data partition, firewall, locks, watchdog, journal, SSH"
DESCRIPTION = "What an appliance has and no single program owns; see README.md beside this recipe"
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# The tree as it lies in files/, which the virtual appliance takes, too.
SRC_URI = " \
    file://etc \
    file://usr \
"
S = "${UNPACKDIR}"

inherit features_check systemd useradd
REQUIRED_DISTRO_FEATURES = "systemd"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install () {
    for tree in etc usr; do
        find "${S}/$tree" -type f | while read -r file; do
            mode=0644
            [ ! -x "$file" ] || mode=0755
            install -D -m "$mode" "$file" "${D}/${file#${S}/}"
        done
    done
    # Kept by the overlays.
    install -d ${D}${sysconfdir}/systemd/network ${D}${sysconfdir}/holdfast
}

FILES:${PN} = "/etc /usr"
RDEPENDS:${PN} = " \
    e2fsprogs-e2fsck \
    nftables \
    openssh-keygen \
    openssh-sshd \
    util-linux-mountpoint \
    util-linux-partx \
    util-linux-sfdisk \
"

SYSTEMD_SERVICE:${PN} = " \
    data.mount \
    etc-holdfast.mount \
    etc-systemd-network.mount \
    var-lib-holdfast-recordings.mount \
    var.mount \
    holdfast-factory-reset.service \
    holdfast-firewall.service \
    holdfast-modules-lock.service \
    holdfast-plugins.service \
    holdfast-ssh.service \
"

# As usr/lib/sysusers.d/holdfast-admin.conf has it; a test holds them to each other.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system --gid 880 holdfast; --system --gid 882 holdfast-admin; --system systemd-journal"
USERADD_PARAM:${PN} = "--system --uid 882 --gid holdfast-admin --groups holdfast,systemd-journal --no-create-home --home-dir /var/lib/holdfast-admin --shell /bin/sh holdfast-admin"
