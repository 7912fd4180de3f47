# What must not be in a release image, looked for in the finished root. A build that finds it fails.

HOLDFAST_FORBIDDEN_FEATURES = "allow-empty-password allow-root-login dbg-pkgs debug-tweaks dev-pkgs eclipse-debug empty-root-password \
    package-management post-install-logging serial-autologin-root src-pkgs ssh-server-dropbear staticdev-pkgs tools-debug tools-profile tools-sdk"
# Users that may have a shell.
HOLDFAST_SHELLS = "holdfast-admin"

python () {
    wanted = set((d.getVar('IMAGE_FEATURES') or '').split()) | set((d.getVar('EXTRA_IMAGE_FEATURES') or '').split())
    forbidden = wanted & set(d.getVar('HOLDFAST_FORBIDDEN_FEATURES').split())
    if forbidden:
        raise bb.parse.SkipRecipe('a release image has no %s: take holdfast-image-dev, or look where your configuration adds it (IMAGE_FEATURES, EXTRA_IMAGE_FEATURES)' % ', '.join(sorted(forbidden)))
}

python holdfast_check_rootfs() {
    import os, stat

    root = d.getVar('IMAGE_ROOTFS')
    found = []

    def lines(path):
        try:
            with open(root + path) as file:
                return [line.rstrip('\n').split(':') for line in file if line.strip()]
        except FileNotFoundError:
            return []

    no_login = ('/nologin', '/false', '/sync', '/halt', '/shutdown')
    allowed = d.getVar('HOLDFAST_SHELLS').split()
    shadow = {fields[0]: fields[1] for fields in lines('/etc/shadow')}
    for fields in lines('/etc/passwd'):
        name, password, uid, shell = fields[0], fields[1], fields[2], fields[6]
        password = shadow.get(name, password)
        if password == '' or (password not in ('x',) and not password.startswith(('!', '*'))):
            found.append('%s has a password, or logs in without one (/etc/shadow)' % name)
        if uid == '0' and name != 'root':
            found.append('%s is root by another name (/etc/passwd)' % name)
        if not shell.endswith(no_login) and name not in allowed:
            found.append('%s has the shell "%s" (/etc/passwd)' % (name, shell))

    forbidden = ['/usr/bin/gdb', '/usr/bin/gdbserver', '/usr/bin/strace', '/usr/sbin/dropbear', '/usr/bin/opkg', '/usr/bin/rpm', '/usr/bin/dpkg',
                 '/usr/bin/gcc', '/usr/lib/systemd/system/debug-shell.service.d']
    found += ['%s is in the image' % path for path in forbidden if os.path.lexists(root + path)]
    for place in ('/etc/systemd/system', '/usr/lib/systemd/system'):
        for directory, _, names in os.walk(root + place):
            if not directory.endswith('.wants'):
                continue
            for name in names:
                if name.startswith(('getty@', 'serial-getty@', 'debug-shell', 'console-getty', 'sshd.', 'ssh.', 'rauc-mark-good', 'nv_update_verifier')):
                    found.append('%s is started by %s' % (name, os.path.basename(directory)))
    for directory, _, names in os.walk(root):
        for name in names:
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            shown = path[len(root):]
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID) and shown not in d.getVar('HOLDFAST_SETUID').split():
                found.append('%s is setuid or setgid' % shown)
            if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
                found.append('%s can be written by everybody' % shown)
            if name.startswith('ssh_host_') and name.endswith('_key'):
                found.append('%s: each box makes its own host key' % shown)
    if found:
        bb.fatal('This is no release image:\n  ' + '\n  '.join(found))
}
# Programs that need it; the others lose their bit in holdfast_drop_setuid.
HOLDFAST_SETUID ?= "/usr/lib/dbus-daemon-launch-helper /usr/libexec/dbus-daemon-launch-helper /usr/lib/dbus/dbus-daemon-launch-helper /usr/lib/polkit-1/polkit-agent-helper-1 /usr/sbin/unix_chkpwd"

holdfast_lock_accounts () {
    # root is there for services, and for nobody to log in.
    sed -i -e 's#^\(root:.*\):[^:]*$#\1:/sbin/nologin#' ${IMAGE_ROOTFS}${sysconfdir}/passwd
    sed -i -e 's#^root:[^:]*:#root:!*:#' ${IMAGE_ROOTFS}${sysconfdir}/shadow
}
holdfast_drop_setuid () {
    find ${IMAGE_ROOTFS} -xdev -type f -perm /6000 | while read -r file; do
        keep=0
        for allowed in ${HOLDFAST_SETUID}; do
            [ "$file" != "${IMAGE_ROOTFS}$allowed" ] || keep=1
        done
        [ "$keep" = 1 ] || chmod ug-s "$file"
    done
}
ROOTFS_POSTPROCESS_COMMAND:append = " holdfast_lock_accounts holdfast_drop_setuid"
# Last, behind the presets of systemd: nothing may change the root after it was looked at.
IMAGE_PREPROCESS_COMMAND:append = " holdfast_check_rootfs"
