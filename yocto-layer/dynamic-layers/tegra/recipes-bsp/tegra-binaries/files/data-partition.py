#!/usr/bin/env python3
"""Adds the data partition to NVIDIA's flash layouts, behind the second slot.

In a layout with two chains APP and APP_b are the last on the disk, both of a fixed size, and nothing owns what is behind them (UDA lies in
front and can't grow). Each device of the given files that has an APP_b gets a partition "data" that takes the rest; its contents are the
file that DATAFILE names (meta-tegra): an empty filesystem, which data-grow and systemd-growfs make as large as its partition. At least
one device must have an APP_b: a box that is flashed without a place for footage would only be found out at its first boot.
"""

import sys
import xml.etree.ElementTree as ET

# Partitions of GPT itself have no number.
TABLES = ("protective_master_boot_record", "primary_gpt", "secondary_gpt")
NAME = "data"
# 0x800: takes what is left. The size is the least that it may be.
FIELDS = {
    "allocation_policy": "sequential",
    "filesystem_type": "basic",
    "size": str(256 * 1024 * 1024),
    "file_system_attribute": "0",
    "allocation_attribute": "0x808",
    "align_boundary": "1048576",
    "percent_reserved": "0",
    "partition_type_guid": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    "filename": "DATAFILE",
}


def numbers(partitions):
    """As the flash tools count: on from the partition before, unless a partition says its own."""
    following = 1
    for partition in partitions:
        number = int(partition.get("id", following))
        following = number + 1
        yield number


def add_data(device):
    """Whether this is the device of the slots; it has a data partition then."""
    partitions = [part for part in device.findall("partition") if part.get("type") not in TABLES]
    names = [part.get("name") for part in partitions]
    if "APP_b" not in names:
        return False
    if NAME in names:
        return True
    if partitions[-1].get("name") != "APP_b":
        raise SystemExit(f"{partitions[-1].get('name')} lies behind APP_b: where does the data partition belong in this layout?")
    data = ET.Element("partition", name=NAME, id=str(max(numbers(partitions)) + 1), type="data")
    for tag, text in FIELDS.items():
        ET.SubElement(data, tag).text = f" {text} "
    ET.indent(data, space="    ", level=2)
    data.tail = partitions[-1].tail
    device.insert(list(device).index(partitions[-1]) + 1, data)
    return True


def main(paths):
    done = False
    for path in paths:
        tree = ET.parse(path)
        if any([add_data(device) for device in tree.getroot().findall("device")]):
            tree.write(path, encoding="unicode", xml_declaration=True)
            done = True
    if not done:
        raise SystemExit(f"no device with APP_b in {', '.join(paths)}: USE_REDUNDANT_FLASH_LAYOUT_DEFAULT must be 1")


if __name__ == "__main__":
    main(sys.argv[1:])
