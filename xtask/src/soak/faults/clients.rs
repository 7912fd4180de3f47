//! Clients of the bus that no one would wish for.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::join_all;
use holdfast_dbus::{BUS_NAME, ROOT_PATH, RecorderProxy};
use zbus::Message;
use zbus::proxy::CacheProperties;

/// Calls under way at a time, per client.
const AT_ONCE: usize = 25;
/// Answers that the deaf client never reads.
const UNREAD: u32 = 3000;

/// So many clients call as fast as they can, on a thread of their own; the sum of their calls.
pub fn flood(address: &str, clients: usize, time: Duration) -> JoinHandle<anyhow::Result<u64>> {
    let address = address.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let end = Instant::now() + time;
        let calls = runtime.block_on(join_all((0..clients).map(|_| calls(&address, end))));
        calls.into_iter().sum()
    })
}

async fn calls(address: &str, end: Instant) -> anyhow::Result<u64> {
    let connection = zbus::connection::Builder::address(address)?.build().await?;
    let recorder = RecorderProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
    let mut done = 0;
    while Instant::now() < end {
        let answers = join_all((0..AT_ONCE).map(|_| async {
            // Half of them read, half of them ask for what is refused.
            let read = recorder.state().await.is_ok();
            let refused = recorder.mark("", std::collections::HashMap::from([("no".to_owned(), 1_u8.into())])).await;
            u64::from(read) + u64::from(refused.is_err())
        }))
        .await;
        done += answers.into_iter().sum::<u64>();
    }
    Ok(done)
}

/// Asks, subscribes, and never reads again, for as long as it is kept.
pub fn deaf(socket: &Path) -> anyhow::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).context("no connection to the bus")?;
    let user: String =
        rustix::process::geteuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.try_clone()?).read_line(&mut line)?;
    if !line.starts_with("OK") {
        bail!("the bus refuses: {line}");
    }
    stream.write_all(b"BEGIN\r\n")?;
    let bus = |member: &'static str| {
        Message::method_call("/org/freedesktop/DBus", member)?
            .destination("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")
    };
    stream.write_all(bus("Hello")?.build(&())?.data())?;
    stream.write_all(bus("AddMatch")?.build(&("type='signal'",))?.data())?;
    // Where even the bus takes no more, that is as far as it goes.
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    for _ in 0..UNREAD {
        let call = Message::method_call(ROOT_PATH, "GetAll")?
            .destination(BUS_NAME)?
            .interface("org.freedesktop.DBus.Properties")?
            .build(&(BUS_NAME,))?;
        if stream.write_all(call.data()).is_err() {
            break;
        }
    }
    Ok(stream)
}
