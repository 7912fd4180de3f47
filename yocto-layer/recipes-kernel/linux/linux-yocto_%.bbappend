require ${@bb.utils.contains('DISTRO', 'holdfast', 'linux-holdfast.inc', '', d)}
