//! The RTSP server in front of the producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use gstreamer_rtsp as gst_rtsp;
use gstreamer_rtsp_server as server;
use gstreamer_rtsp_server::prelude::*;

use crate::args::Args;
use crate::hub::{Hub, Payload};
use crate::producer::Producer;

/// What may be done in the name of whoever has logged in.
const ROLE: &str = "viewer";

/// A listening camera. Attached to the default main context.
pub struct Camera {
    server: server::RTSPServer,
    urls: Vec<String>,
}

impl Camera {
    pub fn listen(args: &Args, hub: &Arc<Hub>, producer: &Arc<Producer>) -> anyhow::Result<Self> {
        let server = server::RTSPServer::new();
        server.set_address(&args.listen.ip().to_string());
        server.set_service(&args.listen.port().to_string());
        // Connections live on the main loop, where `drop_connections` closes them: closed under a thread of their own, some would
        // spin in GLib for ever.
        let pool = server::RTSPThreadPool::new();
        pool.set_max_threads(0);
        server.set_thread_pool(Some(&pool));
        let mounts = server.mount_points().context("a server without mount points")?;
        let paths: Vec<String> = match args.count {
            1 => vec![args.path.clone()],
            count => {
                (0..count).map(|n| format!("{}{n}", args.path.trim_end_matches(|c: char| c.is_ascii_digit()))).collect()
            }
        };
        let next_id = Arc::new(AtomicUsize::new(0));
        for path in &paths {
            mounts.add_factory(path, factory(args, hub, producer, &next_id));
        }
        if let (Some(user), Some(password)) = (&args.user, &args.password) {
            server.set_auth(Some(&auth(user, password)));
        }
        if !args.no_keyframe_on_play {
            let producer = Arc::clone(producer);
            server.connect_client_connected(move |_, client| {
                let producer = Arc::clone(&producer);
                client.connect_play_request(move |_, _| producer.force_keyframe());
            });
        }
        server.attach(None).with_context(|| format!("can't listen on {}", args.listen))?;
        let port = server.bound_port();
        if port <= 0 {
            bail!("can't listen on {}", args.listen);
        }
        let host = match args.listen.ip() {
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            std::net::IpAddr::V4(ip) => ip.to_string(),
        };
        let urls = paths.iter().map(|path| format!("rtsp://{host}:{port}{path}")).collect();
        Ok(Self { server, urls })
    }

    /// The line that tells a test where the camera is.
    pub fn announcement(&self) -> String {
        serde_json::json!({ "url": self.urls.first(), "urls": self.urls, "pid": std::process::id() }).to_string()
    }

    /// Closes all connections; new ones are welcome.
    pub fn drop_connections(&self) {
        let clients = self.server.client_filter(Some(&mut |_, _| server::RTSPFilterResult::Ref));
        for client in clients {
            client.close();
        }
    }
}

fn factory(
    args: &Args,
    hub: &Arc<Hub>,
    producer: &Arc<Producer>,
    next_id: &Arc<AtomicUsize>,
) -> server::RTSPMediaFactory {
    let factory = server::RTSPMediaFactory::new();
    let tracks = producer.tracks();
    let chains: Vec<String> = tracks.iter().enumerate().map(|(n, payload)| track_launch(n, *payload)).collect();
    factory.set_launch(&format!("( {} )", chains.join(" ")));
    factory.set_shared(true);
    factory.set_clock(Some(&gst::SystemClock::obtain()));
    factory.set_latency(0);
    if args.user.is_some() {
        let allowed = gst::Structure::builder(ROLE)
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build();
        factory.add_role_from_structure(&allowed);
    }
    let (hub, next_id, count) = (Arc::clone(hub), Arc::clone(next_id), tracks.len());
    let (producer, from_keyframe) = (Arc::clone(producer), !args.no_keyframe_on_play);
    // Called before the media plays; the keyframe asked for comes a frame or more later.
    factory.connect_media_configure(move |_, media| {
        let bin = media.element();
        let sources = (0..count).filter_map(|n| {
            let bin = bin.downcast_ref::<gst::Bin>()?;
            bin.by_name(&format!("source{n}"))?.downcast::<AppSrc>().ok()
        });
        let id = next_id.fetch_add(1, Ordering::Relaxed);
        hub.subscribe(id, sources.collect(), from_keyframe);
        if from_keyframe {
            producer.force_keyframe();
        }
        let hub = Arc::clone(&hub);
        media.connect_unprepared(move |_| hub.unsubscribe(id));
    });
    factory
}

/// The chain of one track. Its queue holds a few seconds for a slow client and then loses the oldest frames.
fn track_launch(n: usize, payload: Payload) -> String {
    let pay = match payload {
        Payload::H264 => "rtph264pay config-interval=0",
        Payload::H265 => "rtph265pay config-interval=0",
        Payload::Jpeg => "rtpjpegpay",
        Payload::Aac => "rtpmp4gpay",
        Payload::Pcma => "rtppcmapay",
        Payload::Pcmu => "rtppcmupay",
        Payload::Opus => "rtpopuspay",
    };
    let pt = match payload {
        Payload::Jpeg => 26,
        Payload::Pcma => 8,
        Payload::Pcmu => 0,
        _ => 96 + n,
    };
    format!(
        "appsrc name=source{n} is-live=true format=time block=false leaky-type=downstream max-bytes=16000000 ! \
         {pay} name=pay{n} pt={pt}"
    )
}

fn auth(user: &str, password: &str) -> server::RTSPAuth {
    let auth = server::RTSPAuth::new();
    let token = server::RTSPToken::builder().field("media.factory.role", ROLE).build();
    auth.set_supported_methods(gst_rtsp::RTSPAuthMethod::Digest);
    auth.add_digest(user, password, &token);
    auth
}
