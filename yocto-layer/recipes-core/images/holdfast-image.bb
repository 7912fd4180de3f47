SUMMARY = "Holdfast: the recording appliance"
DESCRIPTION = "Root filesystem under dm-verity, with its boot artifact, as one image for either slot"
LICENSE = "MIT"

inherit core-image

require holdfast-image.inc
inherit holdfast-hardened
