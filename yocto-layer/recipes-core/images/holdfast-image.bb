SUMMARY = "Holdfast: the recording appliance"
DESCRIPTION = "Root filesystem under dm-verity, with its boot artifact, as one image for either slot"
LICENSE = "MIT"

require holdfast-image.inc

inherit core-image holdfast_hardened
