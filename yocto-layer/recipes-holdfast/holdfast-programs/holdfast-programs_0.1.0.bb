SUMMARY = "Holdfast: recorder, capture, panel, updater and command line"
DESCRIPTION = "Programs that record cameras, do not lose what they have said is safe, and keep a box up to date beside it"
# Not "holdfast": that is the distribution, and so an override.
SECTION = "multimedia"

require holdfast-source.inc
# Written by `cargo xtask yocto generate` from Cargo.lock and from the table of what goes where (xtask/src/install.rs); not committed.
# nooelint: oelint.file.requireinclude
include holdfast-crates.inc
# nooelint: oelint.file.requireinclude
include holdfast-files.inc

DEPENDS += "gstreamer1.0 gstreamer1.0-plugins-base"

inherit cargo features_check pkgconfig systemd useradd
REQUIRED_DISTRO_FEATURES = "polkit rauc systemd"

python () {
    if not d.getVar('HOLDFAST_FILES'):
        raise bb.parse.SkipRecipe('holdfast-files.inc and holdfast-crates.inc are not there: run `cargo xtask yocto generate` in %s' % d.getVar('HOLDFAST_TREE'))
}

# All at once: they share what they depend on.
CARGO_BUILD_FLAGS:append = " ${@' '.join('--package ' + package for package in (d.getVar('HOLDFAST_CARGO_PACKAGES') or '').split())} --bins"
# rust-toolchain.toml is for rustup, and .cargo/config.toml for people.
export CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS = "fallback"

do_install () {
    for program in ${HOLDFAST_PROGRAMS}; do
        install -D -m 0755 "${B}/target/${CARGO_TARGET_SUBDIR}/$program" "${D}${bindir}/$program"
    done
    # Each as from:to:mode.
    for file in ${HOLDFAST_FILES}; do
        from=${file%%:*}
        rest=${file#*:}
        install -D -m "${rest#*:}" "${S}/$from" "${D}/${rest%%:*}"
    done
}

PACKAGES =+ "holdfast-recorder holdfast-capture holdfast-panel holdfast-updater holdfast-ctl holdfast-dbus"

# A file belongs to the program that its name names.
FILES:holdfast-recorder = " \
    ${bindir}/holdfast-recorder \
    ${sysconfdir}/holdfast/holdfast.toml \
    ${systemd_system_unitdir}/holdfast-recorder.service \
    ${systemd_system_unitdir}/holdfast*.slice \
    ${nonarch_libdir}/systemd/system-preset/80-holdfast.preset \
    ${nonarch_libdir}/sysusers.d/holdfast.conf \
    ${nonarch_libdir}/tmpfiles.d/holdfast.conf \
    ${datadir}/polkit-1/rules.d/org.holdfast.rules \
"
FILES:holdfast-capture = " \
    ${bindir}/holdfast-capture \
    ${systemd_system_unitdir}/holdfast-capture@.service \
    ${systemd_system_unitdir}/holdfast-decode.service \
    ${systemd_system_unitdir}/holdfast-probe@.service \
"
FILES:holdfast-panel = " \
    ${bindir}/holdfast-panel \
    ${sysconfdir}/holdfast/panel.toml \
    ${systemd_system_unitdir}/holdfast-panel.service \
    ${nonarch_libdir}/systemd/system-preset/80-holdfast-panel.preset \
    ${nonarch_libdir}/sysusers.d/holdfast-panel.conf \
    ${nonarch_libdir}/udev/rules.d/60-holdfast-display.rules \
    ${nonarch_libdir}/udev/rules.d/60-holdfast-panel.rules \
"
FILES:holdfast-updater = " \
    ${bindir}/holdfast-updater \
    ${sysconfdir}/holdfast/updater.toml \
    ${systemd_system_unitdir}/holdfast-stick@.service \
    ${systemd_system_unitdir}/holdfast-updater.service \
    ${nonarch_libdir}/systemd/system-preset/80-holdfast-updater.preset \
    ${nonarch_libdir}/udev/rules.d/60-holdfast-stick.rules \
"
FILES:holdfast-ctl = "${bindir}/holdfast"
FILES:holdfast-dbus = "${datadir}/dbus-1"
CONFFILES:holdfast-recorder = "${sysconfdir}/holdfast/holdfast.toml"
CONFFILES:holdfast-panel = "${sysconfdir}/holdfast/panel.toml"
CONFFILES:holdfast-updater = "${sysconfdir}/holdfast/updater.toml"

# Whatever is left is a file that nobody has given to a program: QA says so (installed-vs-shipped).
FILES:${PN} = ""
ALLOW_EMPTY:${PN} = "1"
RDEPENDS:${PN} = "holdfast-capture holdfast-ctl holdfast-panel holdfast-recorder holdfast-updater"
RDEPENDS:holdfast-ctl = "holdfast-dbus"
RDEPENDS:holdfast-panel = "holdfast-dbus"
RDEPENDS:holdfast-recorder = "holdfast-capture holdfast-dbus polkit"
RDEPENDS:holdfast-updater = "holdfast-dbus rauc rauc-service"

SYSTEMD_PACKAGES = "holdfast-recorder holdfast-panel holdfast-updater"
SYSTEMD_SERVICE:holdfast-recorder = "holdfast-recorder.service"
SYSTEMD_SERVICE:holdfast-panel = "holdfast-panel.service"
SYSTEMD_SERVICE:holdfast-updater = "holdfast-updater.service"

# The same as in the programs' sysusers.conf, which nothing can run on a read-only root: a test holds them to each other.
USERADD_PACKAGES = "holdfast-recorder holdfast-panel"
GROUPADD_PARAM:holdfast-recorder = "--system --gid 880 holdfast"
USERADD_PARAM:holdfast-recorder = "--system --uid 880 --gid holdfast --groups audio,render,video --no-create-home --home-dir /var/lib/holdfast --shell /sbin/nologin holdfast"
GROUPADD_PARAM:holdfast-panel = "--system --gid 880 holdfast; --system --gid 881 holdfast-panel; --system gpio; --system i2c"
USERADD_PARAM:holdfast-panel = "--system --uid 881 --gid holdfast-panel --groups holdfast,gpio,input,dialout,i2c --no-create-home --home-dir / --shell /sbin/nologin holdfast-panel"
