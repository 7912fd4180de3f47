//! `[[input]]`: where pictures come from, how they are encoded, and that no two inputs are in each other's way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use holdfast_settings::texts::is_name;
use holdfast_settings::{Node, Origin, Picked, Reader, Scope, Table, Value};

use super::unknown;
use crate::schema::INPUT;
use crate::types;

/// The longest path a Unix socket may have on Linux, bytes.
const SOCKET_PATH_MAX: usize = 107;

pub(super) fn build(
    reader: &mut Reader<'_>,
    tree: &Table,
    runtime_dir: Option<&Picked<String>>,
) -> Option<Vec<types::Input>> {
    let Some(Node { value: Value::Array(nodes), .. }) = tree.get("input") else {
        return if tree.contains_key("input") { None } else { Some(Vec::new()) };
    };
    let mut seen: BTreeMap<String, Origin> = BTreeMap::new();
    let mut devices: BTreeMap<String, (String, Origin)> = BTreeMap::new();
    let mut inputs = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let path = node
            .name()
            .filter(|name| is_name(name))
            .map_or_else(|| format!("input[{}]", index + 1), |name| format!("input.{name}"));
        if !matches!(node.value, Value::Table(_)) {
            let mut mistake = reader.mistake_in(path.clone(), &node.origin);
            mistake.problem = format!("{path} is {}, not a table", node.value.kind());
            mistake.remedy = "each input begins with a header in double brackets: [[input]]".to_owned();
            reader.mistakes.push(mistake);
            continue;
        }
        let scope = &Scope { index: Some(index), ..Scope::new(path, "[[input]]", Some(node), INPUT) };
        let name = reader.text(scope, "name");
        if let Some(name) = &name {
            unique_name(reader, scope, name, &mut seen);
            if let Some(runtime_dir) = runtime_dir {
                socket_fits(reader, scope, &name.value, runtime_dir);
            }
        }
        inputs.push(input(reader, scope, name, &mut devices));
    }
    inputs.into_iter().collect()
}

fn input(
    reader: &mut Reader<'_>,
    scope: &Scope<'_>,
    name: Option<Picked<String>>,
    devices: &mut BTreeMap<String, (String, Origin)>,
) -> Option<types::Input> {
    let kind = reader.text(scope, "source");
    let source = kind.as_ref().and_then(|kind| match kind.value.as_str() {
        "rtsp" => rtsp(reader, scope),
        "v4l2" => v4l2(reader, scope, devices),
        "test" => Some(types::Source::Test { picture: picture(reader, scope) }),
        _ => reader.text(scope, "path").map(|path| types::Source::File { path: PathBuf::from(path.value) }),
    });
    let audio = reader.flag(scope, "audio");
    let armed = reader.flag(scope, "armed");
    let encoder = reader.text(scope, "encoder");
    let codec = reader.text(scope, "codec");
    let bitrate_kbps = reader.number(scope, "bitrate_kbps");
    unknown(reader, &Scope { variant: kind.map(|kind| ("source", kind.value)), ..scope.clone() });
    Some(types::Input {
        name: name?.value,
        source: source?,
        audio: audio?.value,
        armed: armed?.value,
        encoding: types::Encoding {
            encoder: Some(encoder?.value).filter(|encoder| encoder != "auto"),
            codec: if codec?.value == "h265" { types::Codec::H265 } else { types::Codec::H264 },
            bitrate_kbps: bitrate_kbps?.value,
        },
    })
}

fn rtsp(reader: &mut Reader<'_>, scope: &Scope<'_>) -> Option<types::Source> {
    let url = match scope.written("url") {
        Some(Node { value: Value::Text(url), origin }) if has_user(url) => {
            url_with_user(reader, scope, origin);
            None
        }
        _ => reader.text(scope, "url"),
    };
    let credentials_file = reader.text(scope, "credentials_file");
    let transport = reader.text(scope, "transport");
    Some(types::Source::Rtsp {
        url: url?.value,
        credentials_file: credentials_file.map(|path| PathBuf::from(path.value)),
        transport: if transport?.value == "udp" { types::RtspTransport::Udp } else { types::RtspTransport::Tcp },
    })
}

fn v4l2(
    reader: &mut Reader<'_>,
    scope: &Scope<'_>,
    devices: &mut BTreeMap<String, (String, Origin)>,
) -> Option<types::Source> {
    let device = reader.text(scope, "device");
    let audio_device = reader.text(scope, "audio_device");
    let picture = picture(reader, scope);
    let device = device?;
    if let Some((owner, first)) = devices.get(&device.value) {
        let mut mistake = reader.mistake(scope, "device", &device.origin);
        mistake.problem = format!("{} is the device of {owner} already", device.value);
        mistake.allowed = Some("a device that no other input uses".to_owned());
        mistake.remedy = "a device gives its pictures to one program only; remove one of the two inputs".to_owned();
        mistake.relate(first, format!("used by {owner}"));
        reader.mistakes.push(mistake);
    } else {
        devices.insert(device.value.clone(), (scope.path.clone(), device.origin));
    }
    let audio_device = audio_device.map(|device| device.value);
    Some(types::Source::V4l2 { device: PathBuf::from(device.value), audio_device, picture })
}

fn picture(reader: &mut Reader<'_>, scope: &Scope<'_>) -> types::Picture {
    let mut number = |name| reader.number(scope, name).map(|picked| picked.value);
    types::Picture { width: number("width"), height: number("height"), framerate: number("framerate") }
}

/// A user part as the standard has it, or a password with a slash in it, which makes the URL invalid as well.
fn has_user(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let port_is_number = authority.rsplit_once(':').is_none_or(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
    authority.contains('@') || (rest.contains('@') && !authority.starts_with('[') && !port_is_number)
}

fn url_with_user(reader: &mut Reader<'_>, scope: &Scope<'_>, origin: &Origin) {
    let mut mistake = reader.mistake(scope, "url", origin);
    mistake.problem = format!("{}.url has a user or password in it", scope.path);
    mistake.allowed = Some("rtsp://host[:port]/path".to_owned());
    mistake.remedy =
        "this file may be read by all: write user and password into a file of two lines that only the service \
                      may read (chmod 640), and name it: credentials_file = \"/etc/holdfast/cam0.credentials\""
            .to_owned();
    reader.mistakes.push(mistake);
}

fn unique_name(reader: &mut Reader<'_>, scope: &Scope<'_>, name: &Picked<String>, seen: &mut BTreeMap<String, Origin>) {
    if let Some(first) = seen.get(&name.value) {
        let mut mistake = reader.mistake(scope, "name", &name.origin);
        mistake.problem = format!("two inputs have the name \"{}\"", name.value);
        mistake.allowed = Some("a name of its own for each input".to_owned());
        mistake.remedy = "footage is filed by the input's name; rename one of them".to_owned();
        mistake.relate(first, "first used here");
        reader.mistakes.push(mistake);
    } else {
        seen.insert(name.value.clone(), name.origin.clone());
    }
}

fn socket_fits(reader: &mut Reader<'_>, scope: &Scope<'_>, name: &str, runtime_dir: &Picked<String>) {
    let length = runtime_dir.value.len() + "/capture/".len() + name.len() + ".sock".len();
    let told = reader.mistakes.iter().any(|mistake| mistake.key == "recorder.runtime_dir");
    if length <= SOCKET_PATH_MAX || told {
        return;
    }
    let recorder = Scope { path: "recorder".to_owned(), ..scope.clone() };
    let mut mistake = reader.mistake(&recorder, "runtime_dir", &runtime_dir.origin);
    mistake.problem = format!(
        "recorder.runtime_dir makes the socket of input {name} {length} bytes long; Linux allows {SOCKET_PATH_MAX}"
    );
    mistake.allowed = Some(format!("at most {} bytes", SOCKET_PATH_MAX - (length - runtime_dir.value.len())));
    mistake.remedy = "use a shorter path such as /run/holdfast".to_owned();
    reader.mistakes.push(mistake);
}
