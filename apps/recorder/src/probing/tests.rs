//! Probing with a prober of the tests' own, on a clock that goes as fast as nothing happens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_dbus::AlertCode;
use tokio::sync::watch;
use tokio::time::{Instant, advance, sleep};

use super::run::{Later, Probe, Prober};
use super::{Probed, Reach, Surroundings, Way, run};
use crate::alerts::Alerts;
use crate::clock;
use crate::engine::Carried;
use crate::facade::RecorderView;
use crate::pressure::{self, Shed};

/// How a source takes a probe.
#[derive(Clone)]
enum Source {
    Answers(Reach),
    /// Says nothing, and ends when it is told to.
    Hangs,
    /// Says nothing, and can't be ended.
    Stuck,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    sources: HashMap<String, Source>,
    /// Input, and when a probe of it began.
    begun: Vec<(String, Instant)>,
    under_way: usize,
    most: usize,
}

struct Running(World, Source);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().under_way -= 1;
    }
}

impl Prober for World {
    fn begin(&self, input: &str) -> Box<dyn Probe> {
        let mut inner = self.0.lock().unwrap();
        inner.begun.push((input.to_owned(), Instant::now()));
        inner.under_way += 1;
        inner.most = inner.most.max(inner.under_way);
        Box::new(Running(self.clone(), inner.sources[input].clone()))
    }
}

impl Probe for Running {
    fn answer(&mut self) -> Later<'_, Option<Reach>> {
        match &self.1 {
            Source::Answers(reach) => Box::pin(std::future::ready(Some(reach.clone()))),
            Source::Hangs | Source::Stuck => Box::pin(std::future::pending()),
        }
    }

    fn end(&mut self) -> Later<'_, ()> {
        match &self.1 {
            Source::Stuck => Box::pin(std::future::pending()),
            _ => Box::pin(std::future::ready(())),
        }
    }
}

struct Bench {
    world: World,
    alerts: Alerts,
    recorder: watch::Sender<RecorderView>,
    pressure: watch::Sender<pressure::State>,
    ways: Vec<Arc<Way>>,
    reach: Vec<watch::Receiver<Reach>>,
}

impl Bench {
    /// With the inputs cam0, cam1, … and probing under way.
    fn new(sources: &[Source]) -> Self {
        let (world, alerts) = (World::default(), Alerts::default());
        let view = RecorderView {
            state: "idle",
            message: String::new(),
            session: None,
            about: None,
            since_mono_ns: clock::mono_ns(),
            carried: Carried::default(),
        };
        let (recorder, recorder_view) = watch::channel(view);
        let (pressure, pressure_view) = watch::channel(pressure::State::default());
        let (mut inputs, mut ways, mut reach) = (Vec::new(), Vec::new(), Vec::new());
        for (number, source) in sources.iter().enumerate() {
            let name = format!("cam{number}");
            world.0.lock().unwrap().sources.insert(name.clone(), source.clone());
            let way = Arc::new(Way::default());
            let (sender, receiver) = watch::channel(Reach::unknown());
            ways.push(Arc::clone(&way));
            reach.push(receiver);
            inputs.push(Probed { name, way, reach: sender });
        }
        let around = Surroundings {
            prober: Box::new(world.clone()),
            alerts: alerts.clone(),
            recorder: recorder_view,
            pressure: pressure_view,
        };
        tokio::spawn(run(inputs, around));
        Self { world, alerts, recorder, pressure, ways, reach }
    }

    fn set(&self, input: &str, source: Source) {
        self.world.0.lock().unwrap().sources.insert(input.to_owned(), source);
    }

    /// Seconds from the start of the test at which an input was probed.
    fn begun(&self, input: &str, start: Instant) -> Vec<u64> {
        let inner = self.world.0.lock().unwrap();
        let of = inner.begun.iter().filter(|(of, _)| of == input);
        of.map(|(_, at)| (*at - start).as_secs()).collect()
    }

    fn under_way(&self) -> usize {
        self.world.0.lock().unwrap().under_way
    }

    /// At a time.
    fn most(&self) -> usize {
        self.world.0.lock().unwrap().most
    }

    fn record(&self, session: Option<&str>) {
        self.recorder.send_modify(|view| view.session = session.map(str::to_owned));
    }
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// All others come to rest, without time passing.
async fn settle() {
    advance(Duration::ZERO).await;
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_records_is_looked_at_and_oftener_while_something_is_recorded() {
    let start = Instant::now();
    let bench = Bench::new(&[Source::Answers(Reach::No("unplugged".into())), Source::Answers(Reach::Yes)]);
    seconds(60).await;
    assert_eq!(bench.begun("cam0", start), [0_u64; 0], "nobody has said that it is free");

    let _free = (bench.ways[0].free(), bench.ways[1].free());
    seconds(35).await;
    assert_eq!((bench.begun("cam0", start), bench.begun("cam1", start)), (vec![61, 91], vec![62, 92]));
    assert_eq!((&*bench.reach[0].borrow(), &*bench.reach[1].borrow()), (&Reach::No("unplugged".into()), &Reach::Yes));
    let held = || {
        (
            bench.alerts.holds(AlertCode::InputUnreachable, "cam0"),
            bench.alerts.holds(AlertCode::InputUnreachable, "cam1"),
        )
    };
    assert_eq!(held(), (true, false));

    // Ninety-five seconds in: the last looks were at 91 and 92, so the next are due at 101 and 102.
    bench.record(Some("s"));
    seconds(20).await;
    assert_eq!(bench.begun("cam0", start), [61, 91, 101, 111]);
    bench.set("cam0", Source::Answers(Reach::Yes));
    bench.record(None);
    seconds(28).await;
    assert_eq!(bench.begun("cam0", start), [61, 91, 101, 111, 141]);
    assert_eq!((held(), bench.reach[0].borrow().name()), ((false, false), "yes"));
    assert_eq!(bench.alerts.list()[0].count, 1);
}

#[tokio::test(start_paused = true)]
async fn two_at_a_time_and_what_hangs_is_given_up() {
    let start = Instant::now();
    let bench = Bench::new(&[Source::Hangs, Source::Hangs, Source::Hangs, Source::Answers(Reach::Yes)]);
    let _free: Vec<_> = bench.ways.iter().map(|way| way.free()).collect();
    seconds(8).await;
    assert_eq!(bench.most(), 2);
    // At 1 and 2; the third waits for the first to be given up at 3, the last for the second.
    let begun = |input| bench.begun(input, start);
    assert_eq!((begun("cam0"), begun("cam1"), begun("cam2"), begun("cam3")), (vec![1], vec![2], vec![3], vec![4]));
    assert_eq!(bench.under_way(), 0);
    // One silence says nothing yet.
    assert_eq!((bench.reach[0].borrow().name(), bench.reach[3].borrow().name()), ("unknown", "yes"));
    seconds(8).await;
    assert_eq!((begun("cam0"), bench.reach[0].borrow().name()), (vec![1, 11], "no"));
    assert!(bench.alerts.holds(AlertCode::InputUnreachable, "cam0"));
}

#[tokio::test(start_paused = true)]
async fn however_many_hang_two_run_at_a_time_and_each_has_its_turn() {
    let start = Instant::now();
    let bench = Bench::new(&vec![Source::Hangs; 20]);
    let _free: Vec<_> = bench.ways.iter().map(|way| way.free()).collect();
    seconds(23).await;
    assert_eq!(bench.most(), 2);
    // Each takes 2 s, two at a time: all have had one within 20 s.
    for number in 0..20 {
        assert!(!bench.begun(&format!("cam{number}"), start).is_empty(), "cam{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_ended_keeps_its_place_and_piles_up_nowhere() {
    let start = Instant::now();
    let bench = Bench::new(&[Source::Stuck, Source::Answers(Reach::Yes)]);
    let _free = (bench.ways[0].free(), bench.ways[1].free());
    seconds(100).await;
    assert_eq!((bench.begun("cam0", start), bench.under_way()), (vec![1], 1));
    assert_eq!(bench.begun("cam1", start), [2, 32, 62, 92]);
    // A capture is not kept waiting for it either.
    let began = Instant::now();
    bench.ways[0].take();
    assert!(!bench.ways[0].cleared().await);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_capture_goes_first() {
    let start = Instant::now();
    let bench = Bench::new(&[Source::Hangs]);
    let free = bench.ways[0].free();
    sleep(Duration::from_millis(1500)).await;
    assert_eq!(bench.under_way(), 1);

    // As its supervisor does it.
    drop(free);
    bench.ways[0].take();
    let began = Instant::now();
    assert!(bench.ways[0].cleared().await);
    assert_eq!((bench.under_way(), began.elapsed()), (0, Duration::ZERO));
    seconds(100).await;
    assert_eq!(bench.begun("cam0", start), [1], "a capture serves it");

    // What was known of it says nothing any more, and when the capture has gone it is looked at anew.
    bench.set("cam0", Source::Answers(Reach::No("unplugged".into())));
    let free = bench.ways[0].free();
    sleep(Duration::from_millis(1100)).await;
    assert!(bench.alerts.holds(AlertCode::InputUnreachable, "cam0"));
    drop(free);
    settle().await;
    assert!(bench.alerts.holds(AlertCode::InputUnreachable, "cam0"), "nothing has been decided yet");
    bench.ways[0].take();
    settle().await;
    assert!(!bench.alerts.holds(AlertCode::InputUnreachable, "cam0"));
    assert_eq!(*bench.reach[0].borrow(), Reach::unknown());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_ended_for_nothing_is_made_up_for() {
    let start = Instant::now();
    let bench = Bench::new(&[Source::Hangs]);
    let free = bench.ways[0].free();
    sleep(Duration::from_millis(1500)).await;
    bench.set("cam0", Source::Answers(Reach::Yes));
    drop(free);
    let _free = bench.ways[0].free();
    settle().await;
    assert_eq!((bench.begun("cam0", start), bench.reach[0].borrow().name()), (vec![1, 1], "yes"));
}

#[tokio::test(start_paused = true)]
async fn under_pressure_probing_rests() {
    let start = Instant::now();
    let bench = Bench::new(&[Source::Answers(Reach::Yes)]);
    bench.pressure.send_modify(|state| state.shed = vec![Shed::Telemetry]);
    let _free = bench.ways[0].free();
    seconds(50).await;
    assert_eq!(bench.begun("cam0", start), [0_u64; 0]);
    bench.pressure.send_modify(|state| state.shed.clear());
    seconds(30).await;
    assert_eq!(bench.begun("cam0", start), [61]);
}
