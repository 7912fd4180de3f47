SUMMARY = "GStreamer elements of Rockchip's encoders: mpph264enc, mpph265enc"
DESCRIPTION = "Elements that encode H.264 and H.265 with the hardware of Rockchip boards, without screen and scaler"
HOMEPAGE = "https://github.com/JeffyCN/mirrors/tree/gstreamer-rockchip"
SECTION = "multimedia"
LICENSE = "LGPL-2.1-or-later"
LIC_FILES_CHKSUM = "file://COPYING;md5=4fbd65380cdd255951079008b364516c"

DEPENDS = "gstreamer1.0 gstreamer1.0-plugins-base rockchip-mpp"

PV = "1.14+git"
SRC_URI = "git://github.com/JeffyCN/mirrors.git;protocol=https;branch=gstreamer-rockchip"
SRCREV = "c37e7cf10283521c262f9e71fd9be0422a457989"

inherit meson pkgconfig

# Encoders alone: no screen, no scaler.
EXTRA_OEMESON = "-Drockchipmpp=enabled -Drkximage=disabled -Drga=disabled -Dkmssrc=disabled"

FILES:${PN} += "${libdir}/gstreamer-1.0"
FILES:${PN}-staticdev += "${libdir}/gstreamer-1.0/*.a"

COMPATIBLE_MACHINE = "rk3588"
