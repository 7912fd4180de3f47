HOLDFAST_INITRD_PACKAGES:append:tegra:holdfast = " \
    kernel-module-nvme \
    kernel-module-pcie-tegra194 \
    kernel-module-phy-tegra194-p2u \
    tegra-firmware-xusb \
"
