require ${@bb.utils.contains('DISTRO', 'holdfast', 'u-boot-holdfast.inc', '', d)}
