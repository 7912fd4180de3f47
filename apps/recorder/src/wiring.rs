//! Puts the recorder together: the only place that picks what is real and what is not, by configuration, at run time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::stream::FuturesUnordered;
use holdfast_config::{Bus, Config, Input, Source, Supervisor as Choice};
use holdfast_dbus::AlertCode;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::info;
use zbus::Connection;

use crate::alerts::Alerts;
use crate::captures::{Launcher, Shared, Spawn, Supervisor, Systemd};
use crate::checking::{Checker, Child, Decoder, Unit};
use crate::engine::{self, Carried, Engine, RecoveryView, Resumption};
use crate::facade::{Facade, InputEntry, RecorderView};
use crate::guard::{ballast, cleaner, cleaner::Cleaner, trouble::Trouble};
use crate::health::LOOK_PATIENCE;
use crate::health::telemetry::Telemetry;
use crate::health::watcher::{self, Roots};
use crate::leases::Strain;
use crate::lessor::Lessor;
use crate::metrics::{Metrics, Observed};
use crate::probing::{Children, Probed, Prober, Reach, Surroundings, Units, Way};
use crate::reports::Reports;
use crate::resume::Policy;
use crate::session::Machine;
use crate::startup::reason::{self, Evidence};
use crate::startup::{Recovery, evidence};
use crate::store::{self, Catalog, Job, Keeper, Run, StateRecord};
use crate::tasks::Tasks;
use crate::{bus, clock, gauge, guard, inhibit, meter, metrics, pressure, probing, startup, storage};

/// How long the marker of an end in good order may take: systemd does not wait for ever.
const MARKER_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the recorder until it is told to end. Captures go on.
///
/// # Errors
/// The bus or the runtime directory is not there.
pub async fn run(config: Config, config_path: &Path, roots: gauge::Roots) -> anyhow::Result<()> {
    let started_boottime_ns = clock::uptime_ns();
    let connection = bus::connect(&config.recorder.bus).await?;
    let Launchers { launcher, prober, decoder } = launchers(&config, config_path).await?;

    let socket_dir = config.recorder.runtime_dir.join(holdfast_link::SOCKET_DIRECTORY);
    std::fs::create_dir_all(&socket_dir).with_context(|| format!("cannot create {}", socket_dir.display()))?;
    let _only_one = lock(&config.recorder.runtime_dir)?;
    let pool = storage::pool_dir(&config.storage.root);
    let alerts = Alerts::default();
    let trouble = Trouble::new(alerts.clone());
    let catalog = Arc::new(Catalog::new(config.storage.root.clone()));
    let names: Vec<_> = config.inputs.iter().map(|input| input.name.clone()).collect();

    // What the last recorder left, and why it ended.
    let recorder = &config.recorder;
    let store::state::Found { journal: state_journal, state, trouble: damage } =
        store::state::open(&recorder.state_dir);
    if let Some(damage) = damage {
        alerts.raise(AlertCode::StateCorrupt, "recorder", format!("the recorder's own state: {damage}"));
    }
    let evidence = evidence::gather(&recorder.runtime_dir, &recorder.state_dir, &names, &state);
    let own = reason::judge(&Evidence { captures: Vec::new(), ..evidence.clone() }, 0);
    if own.is_crash {
        alerts.raise(AlertCode::Crashed, "recorder", format!("the recorder ended: {} ({})", own.name, own.evidence));
    }
    let keeper = Keeper::start(
        config.storage.clone(),
        Arc::clone(&catalog),
        state_journal,
        trouble.clone(),
        state.checkpoint.clone(),
        alerts.clone(),
    )?;
    keeper.ask(Job::State(StateRecord::RunBegan(run_now()), None));

    // Supervisors look what runs, and hold still.
    // When full, supervisors wait for the engine; the captures they watch go on recording meanwhile.
    let (report_sender, mut reports) = mpsc::channel(256);
    let is_test = |input: &&Input| matches!(input.source, Source::Test { .. });
    let numbered = config.inputs.iter().filter(is_test).map(|input| input.name.clone()).collect();
    let checker = Checker::new(decoder, socket_dir.clone(), numbered);
    let shared = Arc::new(Shared {
        launcher: Arc::clone(&launcher),
        socket_dir,
        root: config.storage.root.clone(),
        pool: pool.clone(),
        reports: report_sender,
        recovery: Semaphore::new(1),
        alerts: alerts.clone(),
        storage: trouble.clone(),
        proc: roots.proc.clone(),
    });
    let mut tasks = Tasks::default();
    let mut inputs = Vec::new();
    let mut entries = Vec::new();
    let mut probed = Vec::new();
    for (index, input) in config.inputs.iter().enumerate() {
        let armed = state.armed.get(&input.name).copied().unwrap_or(input.armed);
        let digest = input.digest(&config);
        let way = Arc::new(Way::default());
        let (supervisor, handle) =
            Supervisor::new(index, input.name.clone(), digest, armed, Arc::clone(&way), Arc::clone(&shared));
        let (reach, reach_view) = watch::channel(Reach::unknown());
        probed.push(Probed { name: input.name.clone(), way, reach });
        tasks.spawn_for("supervisor", &input.name, supervisor.run());
        entries.push(InputEntry {
            name: input.name.clone(),
            source: source_text(input),
            view: handle.view.clone(),
            reach: reach_view,
        });
        inputs.push(engine::Input { name: input.name.clone(), handle });
    }
    let found = startup::find(inputs.len(), &mut reports).await;

    // What was left open is closed, what was interrupted is found.
    let recovery = Arc::new(Recovery {
        catalog: Arc::clone(&catalog),
        keeper: keeper.clone(),
        alerts: alerts.clone(),
        storage: config.storage.clone(),
        pool,
        names,
        policy: Policy { resume: config.protection.resume, within: config.protection.resume_within },
        state,
        evidence,
    });
    let looking = Arc::clone(&recovery);
    let (outcome, storage_now) =
        tokio::task::spawn_blocking(move || (looking.run(&found), storage::measure(&looking.storage)))
            .await
            .context("recovery at start failed")?;

    let (storage_sender, storage_status) = watch::channel(storage_now);
    let (view_sender, view) = watch::channel(RecorderView {
        state: "idle",
        message: String::new(),
        session: None,
        about: None,
        since_mono_ns: clock::mono_ns(),
        carried: Carried::default(),
    });
    let (recovery_sender, recovery_view) = watch::channel(RecoveryView::default());
    // When full, the news is dropped with a warning: the engine never waits for the bus.
    let (news_sender, news) = mpsc::channel(256);
    // When full, the caller is told that the recorder is busy.
    let (calls_sender, calls) = mpsc::channel(64);
    let (rate_sender, rate) = watch::channel(0);
    let (ballast_sender, ballast) = watch::channel(ballast::State::default());
    let (due_sender, due) = watch::channel(0);
    let (cleaning_sender, cleaning) = watch::channel(cleaner::View::default());
    let (pressure_sender, pressure) = watch::channel(pressure::State::default());
    let cleaner = Cleaner {
        storage: config.storage.clone(),
        inputs: inputs.len(),
        catalog: Arc::clone(&catalog),
        keeper: keeper.clone(),
        recorder: view.clone(),
        news: news_sender.clone(),
        alerts: alerts.clone(),
        trouble: trouble.clone(),
        view: cleaning_sender,
        memory: cleaner::Memory::default(),
    };
    cleaner.start(due)?;
    let mut engine = Engine {
        inputs,
        launcher,
        keeper: keeper.clone(),
        catalog: Arc::clone(&catalog),
        storage_status: storage_status.clone(),
        pressure: pressure.clone(),
        full: None,
        view: view_sender,
        news: news_sender,
        machine: Machine::default(),
        before: HashMap::new(),
        resumption: Resumption::new(recovery, recovery_sender, started_boottime_ns),
        later: FuturesUnordered::new(),
        waiting: HashMap::new(),
        requests: 0,
        trace: 0,
        ended: None,
    };
    engine.recovered(outcome);
    if storage_status.borrow().level != storage::Level::Unavailable {
        // It came back in just this moment.
        engine.storage_is_there();
    }
    engine.release();

    let (strain_sender, strain) = watch::channel(Strain::None);
    let (lessor, desk, lease_news) = Lessor::new(config.protection.lease_grace, view.clone(), strain, alerts.clone());
    let facade = Arc::new(Facade {
        config,
        catalog,
        inputs: entries,
        view,
        storage: storage_status,
        rate,
        recovery: recovery_view,
        ballast,
        cleaning,
        pressure,
        reports: Reports::new(alerts.clone()),
        alerts,
        leases: desk,
        checker,
        observed: Observed::default(),
        calls: calls_sender,
    });
    tasks.spawn("meter", meter::run(Arc::clone(&facade), rate_sender));
    let tells = guard::Tells { status: storage_sender, ballast: ballast_sender, retention_due: due_sender };
    tasks.spawn("guard", guard::run(Arc::clone(&facade), tells, trouble));
    let telemetry = Telemetry::start(LOOK_PATIENCE).context("no threads for telemetry")?;
    let seen = Roots { proc: roots.proc.clone(), thermal: roots.sys.join("class/thermal") };
    tasks.spawn("health", watcher::run(Arc::clone(&facade), telemetry, seen));
    let around = Surroundings {
        prober,
        alerts: facade.alerts.clone(),
        recorder: facade.view.clone(),
        pressure: facade.pressure.clone(),
    };
    tasks.spawn("probing", probing::run(probed, around));
    tasks.spawn("pressure", gauge::run(roots, Arc::clone(&facade), pressure_sender, strain_sender));
    tasks.spawn("engine", engine.run(calls, reports));
    tasks.spawn("leases", lessor.run());
    if let Some(logind) = logind(&facade.config.recorder.bus, &connection).await {
        tasks.spawn("inhibitor", inhibit::run(logind, facade.view.clone(), facade.leases.shown.clone()));
    }
    tell_metrics(&facade, &mut tasks);
    let all_news = bus::AllNews { sessions: news, leases: lease_news };
    bus::serve(&connection, Arc::clone(&facade), all_news, &mut tasks).await?;
    info!("ready");

    let result = tokio::select! {
        ended = tasks.first_end() => Err(ended.into()),
        () = terminated() => {
            let (done, noted) = oneshot::channel();
            keeper.ask(Job::State(StateRecord::RunEnded { wall_ns: clock::wall_ns() }, Some(done)));
            // Without it the next recorder takes this for a crash, and says that it does not know.
            let _ = tokio::time::timeout(MARKER_PATIENCE, noted).await;
            Ok(())
        }
        () = bus::lost(&connection) => Err(anyhow::anyhow!("the message bus is gone; captures go on, and the next recorder finds them")),
    };
    info!("ending; captures go on");
    tasks.end().await;
    result
}

/// Where systemd-logind is to be asked: on the bus of the recorder, where that is not a user's own.
async fn logind(bus: &Bus, ours: &Connection) -> Option<Connection> {
    match bus {
        Bus::System | Bus::Address(_) => Some(ours.clone()),
        Bus::Session => match Connection::system().await {
            Ok(system) => Some(system),
            Err(error) => {
                info!("shutdown and sleep are not held back while recording: no system bus ({error})");
                None
            }
        },
    }
}

fn tell_metrics(facade: &Arc<Facade>, tasks: &mut Tasks) {
    let figures = Metrics::new(facade);
    let config = &facade.config.recorder;
    tasks.spawn("metrics socket", metrics::serve(figures.clone(), config.metrics_socket.clone()));
    if let Some(file) = config.metrics_file.clone() {
        tasks.spawn("metrics file", metrics::write_file(figures, file, config.metrics_interval));
    }
    let facade = Arc::clone(facade);
    tasks.spawn("pulse", async move { facade.observed.feel_pulse().await });
}

/// Held while the recorder lives: two would drive the same captures, whatever bus each is on.
fn lock(runtime_dir: &Path) -> anyhow::Result<std::fs::File> {
    let path = runtime_dir.join("recorder.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another recorder holds {}", path.display()))?;
    Ok(file)
}

/// This life of the recorder.
fn run_now() -> Run {
    Run {
        boot_id: clock::boot_id().0,
        wall_ns: clock::wall_ns(),
        pid: std::process::id(),
        oom_kills: evidence::oom_kills(),
    }
}

/// Who starts captures, who probes, and who decodes.
struct Launchers {
    launcher: Arc<dyn Launcher>,
    prober: Box<dyn Prober>,
    decoder: Box<dyn Decoder>,
}

async fn launchers(config: &Config, config_path: &Path) -> anyhow::Result<Launchers> {
    let socket_dir = config.recorder.runtime_dir.join(holdfast_link::SOCKET_DIRECTORY);
    let systemd = match config.recorder.supervisor {
        Choice::Systemd => true,
        Choice::Spawn => false,
        // As sd_booted(3) says it.
        Choice::Auto => Path::new("/run/systemd/system").is_dir() && config.recorder.bus == Bus::System,
    };
    if systemd {
        let system_bus = Connection::system().await.context("no connection to systemd over the system bus")?;
        info!("captures are systemd units");
        let units = Units::new(system_bus.clone(), &socket_dir);
        let decoder = Box::new(Unit::new(system_bus.clone()));
        return Ok(Launchers { launcher: Arc::new(Systemd::new(system_bus)), prober: Box::new(units), decoder });
    }
    let config_path = std::path::absolute(config_path).unwrap_or_else(|_| config_path.to_owned());
    info!("captures are detached processes");
    let program = &config.recorder.capture_program;
    let children = Children::new(program, config_path.clone());
    let decoder = Box::new(Child::new(program, config_path.clone()));
    let launcher = Arc::new(Spawn::new(program, config_path, socket_dir));
    Ok(Launchers { launcher, prober: Box::new(children), decoder })
}

/// What an input records, for people. A URL here never has credentials: they are in a file of their own.
fn source_text(input: &Input) -> String {
    match &input.source {
        Source::Rtsp { url, .. } => url.clone(),
        Source::V4l2 { device, .. } => device.display().to_string(),
        Source::Test { .. } => "test".to_owned(),
        Source::File { path } => path.display().to_string(),
    }
}

/// SIGTERM or SIGINT.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        // Without handlers the signals end the process by themselves, which does as well.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
}
