require ${@bb.utils.contains('DISTRO', 'holdfast', 'recipes-kernel/linux/linux-holdfast.inc', '', d)}
