//! What the layer says twice must be the same both times.

use super::{BOARDS, COMMON, boards, matches, packed};
use crate::bundle::Board;
use crate::install::{FILES, for_board};
use crate::workspace::root;
use crate::yocto::{LAYER, SERIES_RUST};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

fn in_layer(path: &str) -> String {
    read(&format!("{LAYER}/{path}"))
}

#[test]
fn boards_that_are_none_are_refused_with_those_that_are() {
    assert_eq!(boards(&[]).unwrap().len(), BOARDS.len());
    let said = boards(&["rock-5c".to_owned()]).unwrap_err().to_string();
    assert!(said.contains("rock-5c") && said.contains("rock-5b"), "{said}");
}

#[test]
fn patterns_of_a_recipe_are_paths() {
    let patterns =
        packed("FILES:${PN}-a = \" \\\n    ${bindir}/a \\\n    ${datadir}/b* \\\n\"\nRDEPENDS:${PN} = \"c\"\n");
    assert_eq!(patterns, ["usr/bin/a", "usr/share/b*"]);
    assert!(
        matches("usr/bin/a", "usr/bin/a")
            && matches("usr/share/b", "usr/share/b/c")
            && matches("usr/b*.x", "usr/bcd.x")
    );
    assert!(
        !matches("usr/bin/a", "usr/bin/ab") && !matches("usr/b*.x", "usr/b/c.x") && !matches("usr/b*.x", "usr/bc.y")
    );
}

/// kas and this program take the same layers for a board.
#[test]
fn kas_takes_the_same_layers() {
    let base = in_layer("kas/base.yml");
    for layer in COMMON {
        let (repository, sub) = layer.split_once('/').unwrap_or((layer, ""));
        assert!(base.contains(&format!("  {repository}:\n")), "kas/base.yml has no {repository}");
        assert!(sub.is_empty() || base.contains(&format!("      {sub}:\n")), "kas/base.yml has no {layer}");
    }
    for board in &BOARDS {
        let text = in_layer(&format!("kas/{}.yml", board.machine));
        assert!(text.contains(&format!("machine: {}\n", board.machine)), "{text}");
        for layer in board.layers {
            let repository = layer.split('/').next().unwrap();
            assert!(text.contains(&format!("  {repository}:\n")), "kas/{}.yml has no {repository}", board.machine);
        }
        assert_eq!(
            text.matches("    url: ").count(),
            board.layers.iter().map(|layer| layer.split('/').next()).collect::<std::collections::BTreeSet<_>>().len(),
            "{text}"
        );
    }
}

/// One version: Cargo's, the distribution's, the recipe's.
#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(in_layer("conf/distro/holdfast.conf").contains(&format!("DISTRO_VERSION = \"{version}\"\n")));
    assert!(
        root().join(LAYER).join(format!("recipes-holdfast/holdfast-programs/holdfast-programs_{version}.bb")).is_file()
    );
}

/// What we need of Rust, the series has.
#[test]
fn the_series_has_our_rust() {
    let number = |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let ours = env!("CARGO_PKG_RUST_VERSION");
    assert!(number(ours) <= number(SERIES_RUST), "rust-version is {ours}, and wrynose has {SERIES_RUST}");
}

/// A locked crate that wants a newer Rust than the series has would break only BitBake, long after CI was content.
#[test]
fn the_series_has_each_locked_crates_rust() {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |text: &str| text.split('.').map(|part| part.parse::<u32>().unwrap()).collect::<Vec<_>>();
    let packages = told["packages"].as_array().unwrap();
    let too_new = |package: &&serde_json::Value| {
        package["rust_version"].as_str().is_some_and(|wanted| number(wanted) > number(SERIES_RUST))
    };
    let named: Vec<String> = packages
        .iter()
        .filter(too_new)
        .map(|package| format!("{} {}", package["id"], package["rust_version"]))
        .collect();
    assert!(named.is_empty(), "wrynose has {SERIES_RUST}: {named:?}");
    assert!(packages.len() > 300, "{}", packages.len());
}

/// Ids that `systemd-sysusers` would give, and that recipes give: nothing can be added to a root that is read-only.
#[test]
fn users_are_the_same_in_sysusers_and_recipes() {
    let ids = |text: &str| -> BTreeMap<String, String> {
        let fields = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(':').collect::<Vec<_>>());
        fields.map(|fields| (fields[0].to_owned(), fields[2].to_owned())).collect()
    };
    let users = ids(&in_layer("files/holdfast-passwd"));
    let groups = ids(&in_layer("files/holdfast-group"));
    let recipes =
        in_layer(&format!("recipes-holdfast/holdfast-programs/holdfast-programs_{}.bb", env!("CARGO_PKG_VERSION")))
            + &in_layer("recipes-core/holdfast-system/holdfast-system_1.0.bb");
    let mut seen = 0;
    for path in [
        "apps/recorder/systemd/sysusers.conf",
        "apps/ledpanel/systemd/sysusers.conf",
        &format!("{LAYER}/recipes-core/holdfast-system/files/usr/lib/sysusers.d/holdfast-admin.conf"),
    ] {
        for line in read(path).lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["g", name, id, ..] => {
                    assert_eq!(groups.get(*name).map(String::as_str), Some(*id), "{path}: group {name}");
                    assert!(
                        recipes.contains(&format!("--gid {id} {name}")),
                        "no recipe makes group {name} as {path} has it"
                    );
                }
                ["u", name, ids, ..] => {
                    let id = ids.split(':').next().unwrap();
                    assert_eq!(users.get(*name).map(String::as_str), Some(id), "{path}: user {name}");
                    let made = recipes.split(['"', ';']).any(|one| {
                        one.contains(&format!("--uid {id} ")) && one.trim_end().ends_with(&format!(" {name}"))
                    });
                    assert!(made, "no recipe makes user {name} as {path} has it");
                }
                ["m", name, group] => {
                    let user = recipes
                        .split(['"', ';'])
                        .find(|one| one.contains("--uid") && one.trim_end().ends_with(&format!(" {name}")));
                    let given =
                        user.and_then(|one| one.split("--groups ").nth(1)).and_then(|rest| rest.split(' ').next());
                    let member = given.is_some_and(|given| given.split(',').any(|one| one == *group));
                    assert!(member, "{path}: no recipe makes {name} a member of {group}");
                }
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                other => unreachable!("{path}: {other:?} is nothing that recipes know of"),
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} lines of sysusers.conf");
}

/// U-Boot looks for its environment where RAUC's tools do.
#[test]
fn uboot_and_its_tools_know_the_same_environment() {
    for board in ["rk3588", "virtual"] {
        let config = in_layer(&format!("recipes-bsp/u-boot/files/holdfast-{board}.cfg"));
        let value = |name: &str| {
            let line = config.lines().find_map(|line| line.strip_prefix(&format!("CONFIG_ENV_{name}=")));
            u64::from_str_radix(line.unwrap().trim_start_matches("0x"), 16).unwrap()
        };
        let (first, second, size) = (value("OFFSET"), value("OFFSET_REDUND"), value("SIZE"));
        let tools = root().join(format!("ota/board/{board}.fw_env.config"));
        if tools.exists() {
            let text = fs::read_to_string(tools).unwrap();
            let places: Vec<Vec<u64>> = text
                .lines()
                .filter(|line| line.starts_with("/dev/"))
                .map(|line| {
                    line.split_whitespace()
                        .skip(1)
                        .map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap())
                        .collect()
                })
                .collect();
            assert_eq!(places, [[first, size], [second, size]], "{board}");
        }
        // Behind the loader and before the first slot, and apart.
        assert!(first + size <= second && second + size <= 16 << 20, "{board}");
        assert!(board == "virtual" || first >= 12 << 20, "{board}: inside of the loader");
    }
}

/// A data partition is made small and grows; what can't grow with it is the same on boards and on the virtual appliance.
#[test]
fn the_filesystem_for_data_is_made_for_large_disks() {
    let board = in_layer("conf/machine/include/holdfast-board.inc");
    let options = board.split("HOLDFAST_DATA_MKFS = \"").nth(1).unwrap().split('"').next().unwrap();
    let appliance = read("xtask/src/image/disk.rs");
    let options: Vec<&str> = options.split(' ').collect();
    for option in options.chunks(2) {
        let words = format!("\"{}\",\n            \"{}\",", option[0], option[1]);
        assert!(appliance.contains(&words), "xtask/src/image/disk.rs has no {option:?}");
    }
    for made in [
        "files/wic/holdfast-rk3588.wks.in",
        "files/wic/holdfast-virtual.wks.in",
        "classes-recipe/holdfast_tegra.bbclass",
    ] {
        assert!(in_layer(made).contains("${HOLDFAST_DATA_MKFS}"), "{made}");
    }
}

/// RAUC writes tries in hexadecimal, U-Boot reads them as decimal.
#[test]
fn tries_are_the_same_in_both_bases() {
    let tries = in_layer("recipes-bsp/u-boot/u-boot-holdfast.inc");
    let tries: u32 = tries.split("HOLDFAST_TRIES ?= \"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
    assert!((1..=9).contains(&tries), "{tries}");
    for board in ["rk3588", "virtual"] {
        let config = read(&format!("ota/system.conf/{board}.conf"));
        assert!(config.contains(&format!("\nboot-attempts={tries}\n")), "{board}: U-Boot has {tries}");
    }
}

/// Nobody needs to read 150 lines of hardening in each unit to know that it is there: all units of an image, as they are there, drop-ins
/// and all.
#[test]
fn units_expose_little() {
    let works = Command::new("systemd-analyze").arg("--version").output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no systemd-analyze");
        return;
    }
    let image = tempfile::tempdir().unwrap();
    let system = root().join(LAYER).join("recipes-core/holdfast-system/files/usr");
    assert!(Command::new("cp").arg("-r").arg(system).arg(image.path()).status().unwrap().success());
    let units = image.path().join("usr/lib/systemd/system");
    let of_boards = for_board(Board::Virtual).into_iter().map(|(from, to, _)| (from, to));
    let of_all = FILES.iter().map(|(from, to)| ((*from).to_owned(), *to));
    for (from, to) in of_all.chain(of_boards).filter(|(_, to)| to.starts_with("usr/lib/systemd/system/holdfast")) {
        fs::create_dir_all(image.path().join(to).parent().unwrap()).unwrap();
        fs::copy(root().join(from), image.path().join(to)).unwrap();
    }
    const IN_TENTHS: &str = "20";
    let mut looked_at = 0;
    for unit in services(&units) {
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold", IN_TENTHS])
            .arg(format!("--root={}", image.path().display()))
            .arg(unit.replace("@.", "@one."))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let overall = said.lines().find(|line| line.contains("Overall exposure")).unwrap_or(&said);
        assert!(output.status.success(), "{unit}: {overall}");
        looked_at += 1;
    }
    assert!(looked_at >= 12, "{looked_at}");
}

fn services(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".service")).collect()
}
