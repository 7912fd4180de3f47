SUMMARY = "Holdfast, to develop and bring up boards with"
DESCRIPTION = "As holdfast-image, with a root login without password, SSH, and tools. Never for a box that leaves the house."
LICENSE = "MIT"

require holdfast-image.inc

inherit core-image

# nooelint: oelint.var.badimagefeature
IMAGE_FEATURES += "allow-empty-password allow-root-login empty-root-password post-install-logging ssh-server-openssh"
# The slot does not grow with what is convenient.
IMAGE_INSTALL += "\
    e2fsprogs \
    gdbserver \
    gstreamer1.0-bin \
    htop \
    i2c-tools \
    iperf3 \
    libgpiod-tools \
    strace \
    v4l-utils \
    usbutils \
    util-linux-lsblk \
"

# What the release image keeps shut.
holdfast_open () {
    echo 'add element inet holdfast services { 22 }' >${IMAGE_ROOTFS}${sysconfdir}/holdfast/firewall.nft
    install -d ${IMAGE_ROOTFS}${sysconfdir}/systemd/system-preset
    printf 'enable sshd.socket\nenable sshd.service\ndisable holdfast-ssh.service\ndisable holdfast-modules-lock.service\n' \
        >${IMAGE_ROOTFS}${sysconfdir}/systemd/system-preset/10-holdfast-dev.preset
}
ROOTFS_POSTPROCESS_COMMAND += "holdfast_open"

# oeqa: lib/oeqa/runtime/cases/holdfast.py
TEST_SUITES = "ping ssh holdfast"
