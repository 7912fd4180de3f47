SUMMARY = "Holdfast: all that is on an appliance"
DESCRIPTION = "Programs, the system around them, and just the GStreamer elements that they ask for"
LICENSE = "MIT"
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit features_check packagegroup
REQUIRED_DISTRO_FEATURES = "pam polkit rauc seccomp systemd"

# Elements by name, as apps/capture asks for them: no plugin that nobody uses, and so none that can be attacked. Which encoder is
# there is the board's matter.
HOLDFAST_ENCODERS ?= ""
HOLDFAST_PLUGINS = " \
    gstreamer1.0-plugins-base-alsa \
    gstreamer1.0-plugins-base-app \
    gstreamer1.0-plugins-base-audioconvert \
    gstreamer1.0-plugins-base-audioresample \
    gstreamer1.0-plugins-base-audiotestsrc \
    gstreamer1.0-plugins-base-opus \
    gstreamer1.0-plugins-base-tcp \
    gstreamer1.0-plugins-base-typefindfunctions \
    gstreamer1.0-plugins-base-videoconvertscale \
    gstreamer1.0-plugins-base-videorate \
    gstreamer1.0-plugins-base-videotestsrc \
    gstreamer1.0-plugins-good-audioparsers \
    gstreamer1.0-plugins-good-jpeg \
    gstreamer1.0-plugins-good-rtp \
    gstreamer1.0-plugins-good-rtpmanager \
    gstreamer1.0-plugins-good-rtsp \
    gstreamer1.0-plugins-good-udp \
    gstreamer1.0-plugins-good-video4linux2 \
    gstreamer1.0-plugins-bad-codectimestamper \
    gstreamer1.0-plugins-bad-opusparse \
    gstreamer1.0-plugins-bad-videoparsersbad \
    ${@'gstreamer1.0-plugins-bad-openh264 gstreamer1.0-plugins-ugly-x264 gstreamer1.0-libav' if d.getVar('HOLDFAST_CODECS') == '1' else ''} \
"

RDEPENDS:${PN} = " \
    ${HOLDFAST_ENCODERS} \
    ${HOLDFAST_PLUGINS} \
    ca-certificates \
    e2fsprogs-e2fsck \
    holdfast-programs \
    holdfast-rauc-conf \
    holdfast-system \
    kernel-modules \
    nftables \
    openssh-keygen \
    openssh-sftp-server \
    openssh-sshd \
    packagegroup-core-boot \
    rauc \
    rauc-service \
    systemd-extra-utils \
    tzdata-core \
"
