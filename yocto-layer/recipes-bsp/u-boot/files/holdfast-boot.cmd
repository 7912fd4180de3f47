# Which slot is booted. Built into U-Boot (CONFIG_BOOTCOMMAND), not read from a disk: whoever can write to a partition must not be
# able to say what U-Boot does. Comments and line ends are taken out; each command ends with ";".
#
# The variables are RAUC's: BOOT_ORDER, and for each slot how often it may still be tried. RAUC writes that number in hexadecimal
# and this reads it as decimal: at most 9.
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B";
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT @TRIES@;
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT @TRIES@;
setenv slot;
for candidate in ${BOOT_ORDER}; do
  if test -n "${slot}"; then true;
  elif test "${candidate}" = A -a ${BOOT_A_LEFT} -gt 0; then
    setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1; setenv slot A; setenv part rootfs-a;
  elif test "${candidate}" = B -a ${BOOT_B_LEFT} -gt 0; then
    setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1; setenv slot B; setenv part rootfs-b;
  fi;
done;
# None is left: all again, rather than standing still.
if test -z "${slot}"; then
  echo "holdfast: no tries are left, all over again";
  setenv BOOT_A_LEFT @TRIES@; setenv BOOT_B_LEFT @TRIES@; saveenv; reset;
fi;
# Counted before it is tried.
saveenv;
echo "holdfast: slot ${slot} of ${BOOT_ORDER}, left A=${BOOT_A_LEFT} B=${BOOT_B_LEFT}";
# From here on it is the board's; up to here the virtual appliance has the same (xtask/src/image/uboot.rs).
setenv bootargs "@BOOTARGS@ rauc.slot=${slot}";
# The boot artifact is the first part of the slot (holdfast_slot.bbclass). Sectors of 512 bytes, in hexadecimal.
part start @BOOTDEV@ ${part} first;
@READ@ @FIT_ADDRESS@ ${first} @BOOT_SECTORS@;
bootm @FIT_ADDRESS@ @BOOTM_REST@;
# Not a FIT, or not signed by whom it must be.
reset;
