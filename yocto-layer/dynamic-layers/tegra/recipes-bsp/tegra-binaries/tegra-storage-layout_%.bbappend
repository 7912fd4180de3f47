# Flashing makes the data partition, too: NVIDIA's layouts with two chains end with APP_b and leave the rest of the disk alone.
FILESEXTRAPATHS:prepend:holdfast := "${THISDIR}/files:"
SRC_URI:append:holdfast = " file://data-partition.py"

do_compile:append:holdfast () {
    layouts=internal-flash.xml
    [ ! -e external-flash.xml ] || layouts="$layouts external-flash.xml"
    python3 ${UNPACKDIR}/data-partition.py $layouts
}
