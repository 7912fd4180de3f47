//! Jetson's flash layout with our data partition, worked out without BitBake and without NVIDIA's tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::layer;

/// In the order and with the numbers of NVIDIA's layouts with two chains: the slots come last on the disk and first in number.
const SLOTS: [(&str, Option<u32>, &str); 7] = [
    ("primary_gpt", None, "primary_gpt"),
    ("A_kernel", Some(3), "kernel"),
    ("B_kernel", None, "kernel"),
    ("UDA", None, "data"),
    ("APP", Some(1), "data"),
    ("APP_b", Some(2), "data"),
    ("secondary_gpt", None, "secondary_gpt"),
];

fn layout(partitions: &[(&str, Option<u32>, &str)]) -> String {
    let mut text = "<?xml version=\"1.0\"?>\n<partition_layout>\n<device type=\"external\">\n".to_owned();
    for (name, id, kind) in partitions {
        let id = id.map(|id| format!(" id=\"{id}\"")).unwrap_or_default();
        text += &format!("<partition name=\"{name}\"{id} type=\"{kind}\"><size> 512 </size></partition>\n");
    }
    text + "</device>\n</partition_layout>\n"
}

fn add_data(file: &Path) -> Output {
    let script = layer().join("dynamic-layers/tegra/recipes-bsp/tegra-binaries/files/data-partition.py");
    Command::new("python3").arg(script).arg(file).output().unwrap()
}

/// The opening tags of all partitions.
fn tags(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter_map(|line| line.strip_prefix("<partition ")?.split('>').next()).collect()
}

#[test]
fn the_rest_of_a_jetsons_disk_is_the_data_partition() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("external-flash.xml");
    fs::write(&file, layout(&SLOTS)).unwrap();
    let output = add_data(&file);
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&file).unwrap();
    let tags = tags(&text);
    // A number of its own: A_kernel, B_kernel and UDA have 3 to 5.
    assert_eq!(tags[5..7], ["name=\"APP_b\" id=\"2\" type=\"data\"", "name=\"data\" id=\"6\" type=\"data\""], "{text}");
    assert_eq!(tags.len(), SLOTS.len() + 1);
    assert!(text.contains("> 0x808 <") && text.contains("<filename> DATAFILE </filename>"), "{text}");
    // The name that meta-tegra replaces is the one that the image class gives a file for.
    let class = fs::read_to_string(layer().join("classes-recipe/holdfast_tegra.bbclass")).unwrap();
    assert!(class.contains("\nDATAFILE = ") && class.contains("-L holdfast-data"));

    add_data(&file);
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "a second run changes nothing");
}

#[test]
fn a_jetson_without_a_place_for_footage_is_not_built() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |partitions: &[(&str, Option<u32>, &str)]| {
        let file = directory.path().join("flash.xml");
        fs::write(&file, layout(partitions)).unwrap();
        let output = add_data(&file);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(refused(&SLOTS[..5]).contains("USE_REDUNDANT_FLASH_LAYOUT_DEFAULT"));
    let behind = [&SLOTS[..6], &[("more", None, "data")], &SLOTS[6..]].concat();
    assert!(refused(&behind).contains("more lies behind APP_b"));
}
