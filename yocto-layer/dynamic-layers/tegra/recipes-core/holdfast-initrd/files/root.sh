# shellcheck disable=SC2034 # Read by init.
# Read by the initrd. On Jetson the root goes with the boot chain, and the firmware says which one it took: four bytes of attributes,
# then 0 or 1. boot.slot_suffix= on the command line says the same, where the firmware writes it.
mount -t efivarfs -o ro,nosuid,nodev,noexec efivarfs /sys/firmware/efi/efivars 2>/dev/null
chain=$(od -An -v -tu1 -j4 -N1 /sys/firmware/efi/efivars/BootChainOsCurrent-781e084c-a330-417c-b678-38e696380cb9 2>/dev/null | tr -d ' ')
umount /sys/firmware/efi/efivars 2>/dev/null
case $(cat /proc/cmdline) in
    *boot.slot_suffix=_b*) chain=1 ;;
    *boot.slot_suffix=_a*) chain=0 ;;
esac
case $chain in
    0) root=APP ;;
    1) root=APP_b ;;
esac
