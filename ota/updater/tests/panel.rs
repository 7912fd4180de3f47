//! What the front panel shows of an update: the real panel beside the real updater.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod site;

use std::path::Path;

use holdfast_dbus::panel::PanelProxy;
use site::Site;
use zbus::proxy::CacheProperties;

#[tokio::test]
async fn the_status_light_tells_of_an_update_and_of_its_trial() {
    let Some(mut site) = Site::start().await else { return };
    site.start_panel();
    let panel = PanelProxy::builder(&site.client).cache_properties(CacheProperties::No).build().await.unwrap();
    let tells = |condition: &'static str| {
        let panel = panel.clone();
        move || {
            let panel = panel.clone();
            async move {
                let lights = panel.lights().await.unwrap_or_default();
                lights.iter().any(|light| light.name == "status" && light.condition == condition)
            }
        }
    };
    let bundle = site.bundle("2.0");
    site.rig.hold();
    site.install(&bundle).await;
    site.until("the light of an update", tells("updating")).await;
    site.rig.release();
    let flag = site.path("rebooting");
    site.until("a reboot", || async { Path::new(&flag).exists() }).await;
    // The new system does not record for a while, so that its trial can be seen.
    site.break_recorder();
    site.reboot().await;
    site.until_state("trial").await;
    site.start_recorder();
    site.until("the light of a trial", tells("trial-boot")).await;
    site.until_outcome("good").await;
    site.until("the light to be over", || async { !tells("trial-boot")().await }).await;
}
