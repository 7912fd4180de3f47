SUMMARY = "Rockchip Media Process Platform: the RK3588's encoders from user space"
DESCRIPTION = "User side of the vendor kernel's driver for encoders and decoders; a mainline kernel has no such driver"
HOMEPAGE = "https://github.com/rockchip-linux/mpp"
SECTION = "libs"
LICENSE = "Apache-2.0 & MIT"
LIC_FILES_CHKSUM = " \
    file://LICENSES/Apache-2.0;md5=7f43e699e0a26fae98c2938092f008d2 \
    file://LICENSES/MIT;md5=e8f57dd048e186199433be2c41bd3d6d \
"

PV = "1.3.9+git"
# The vendor's own repository is no longer public in full; this mirror has the branch that gstreamer1.0-rockchip is written for.
SRC_URI = "git://github.com/JeffyCN/mirrors.git;protocol=https;nobranch=1"
SRCREV = "b29e4b798d28a5d0709bff87479d17f247645bc8"

inherit cmake pkgconfig

EXTRA_OECMAKE = "-DRKPLATFORM=ON -DHAVE_DRM=ON -DBUILD_TEST=OFF -DCMAKE_POLICY_VERSION_MINIMUM=3.5"
CFLAGS:append = " -D_LARGEFILE64_SOURCE -D_FILE_OFFSET_BITS=64"

# The programs are tests.
PACKAGES =+ "${PN}-vpu ${PN}-demos"
FILES:${PN}-vpu = "${libdir}/librockchip_vpu${SOLIBS}"
FILES:${PN}-demos = "${bindir}"

COMPATIBLE_MACHINE = "rk3588"
