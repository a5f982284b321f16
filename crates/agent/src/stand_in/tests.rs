use std::sync::Mutex;

use tokio::time::sleep;

use super::*;

const TICK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Fence,
    Look,
    Kill,
}

/// A host whose boot was at the start of the test.
struct Host {
    start: Instant,
    lease: Mutex<Option<LeaseOnDisk>>,
    address_is_left: Mutex<bool>,
    fenced: Fenced,
    fencing_takes: Duration,
    deeds: Mutex<Vec<(Deed, u128)>>,
}

impl Host {
    fn new(lease: Option<LeaseOnDisk>) -> Self {
        Self {
            start: Instant::now(),
            lease: Mutex::new(lease),
            address_is_left: Mutex::new(false),
            fenced: Fenced::Closed,
            fencing_takes: Duration::from_millis(50),
            deeds: Mutex::new(Vec::new()),
        }
    }

    fn note(&self, deed: Deed) {
        self.deeds.lock().unwrap().push((deed, self.start.elapsed().as_millis()));
    }
}

impl Hands for Host {
    fn uptime(&self) -> Option<Duration> {
        Some(self.start.elapsed())
    }

    fn lease(&self) -> Option<LeaseOnDisk> {
        self.lease.lock().unwrap().clone()
    }

    async fn fence(&self) -> Fenced {
        self.note(Deed::Fence);
        sleep(self.fencing_takes).await;
        self.fenced.clone()
    }

    async fn is_address_left(&self) -> bool {
        self.note(Deed::Look);
        *self.address_is_left.lock().unwrap()
    }

    fn kill_server(&self, _pid_file: Option<PathBuf>) {
        self.note(Deed::Kill);
    }
}

fn lease_until(seconds: u64) -> LeaseOnDisk {
    LeaseOnDisk { ends: Some(Duration::from_secs(seconds)), fence_hung_server: true }
}

/// Looks every tick until the time since the start has come. Workers beat in `heard`, a time in milliseconds.
async fn look_until(stand_in: &mut StandIn<Host>, until_ms: u64, heard: std::ops::Range<u64>) {
    let start = stand_in.hands.start;
    let at = |ms| start + Duration::from_millis(ms);
    while Instant::now() < at(until_ms) {
        let now = Instant::now();
        let last_heard = if now < at(heard.start) { start } else { now.min(at(heard.end)) };
        stand_in.look(now, now - last_heard).await;
        sleep(TICK).await;
    }
}

fn deeds(stand_in: &StandIn<Host>) -> Vec<(Deed, u128)> {
    stand_in.hands.deeds.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_worker_is_there_or_whose_lease_lasts_is_left_alone() {
    for lease in [None, Some(LeaseOnDisk { ends: None, fence_hung_server: true }), Some(lease_until(3600))] {
        let mut stand_in = StandIn::new(Host::new(lease));
        look_until(&mut stand_in, 60_000, 0..0).await;
        assert_eq!(deeds(&stand_in), []);
    }
    let mut stand_in = StandIn::new(Host::new(Some(lease_until(0))));
    look_until(&mut stand_in, 60_000, 0..60_000).await;
    assert_eq!(deeds(&stand_in), []);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_lease_a_host_without_a_worker_is_fenced_once() {
    let mut stand_in = StandIn::new(Host::new(Some(lease_until(5))));
    look_until(&mut stand_in, 10_000, 0..2_000).await;
    let deeds = deeds(&stand_in);
    let fenced: Vec<_> = deeds.iter().filter(|(deed, _)| *deed == Deed::Fence).collect();
    assert!(matches!(fenced[..], [(_, 5000..=5100)]), "{deeds:?}");
    assert!(deeds.iter().all(|(deed, _)| *deed != Deed::Kill), "{deeds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_over_already_waits_only_for_the_workers_word() {
    let mut stand_in = StandIn::new(Host::new(Some(lease_until(1))));
    look_until(&mut stand_in, 5_000, 0..3_000).await;
    let first = deeds(&stand_in)[0];
    assert!(matches!(first, (Deed::Fence, 4000..=4100)), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_just_before_the_lease_ends_is_not_waited_for_any_longer() {
    for heard in [4_300, 4_950] {
        let mut stand_in = StandIn::new(Host::new(Some(lease_until(5))));
        look_until(&mut stand_in, 8_000, 0..heard).await;
        let first = deeds(&stand_in)[0];
        assert!(matches!(first, (Deed::Fence, 5200..=5300)), "{first:?}");
    }
    let mut stand_in = StandIn::new(Host::new(Some(lease_until(5))));
    look_until(&mut stand_in, 8_000, 0..5_110).await;
    let first = deeds(&stand_in)[0];
    assert!(matches!(first, (Deed::Fence, 6100..=6300)), "it closes by itself: {first:?}");
}

#[tokio::test(start_paused = true)]
async fn while_an_address_is_still_there_the_host_is_fenced_again_until_the_worker_is_back() {
    let host = Host::new(Some(lease_until(0)));
    *host.address_is_left.lock().unwrap() = true;
    let mut stand_in = StandIn::new(host);
    look_until(&mut stand_in, 5_000, 0..0).await;
    let so_far = deeds(&stand_in);
    let count = |deeds: &[(Deed, u128)]| deeds.iter().filter(|(deed, _)| *deed == Deed::Fence).count();
    assert!((3..=5).contains(&count(&so_far)), "{so_far:?}");
    look_until(&mut stand_in, 9_000, 5_000..9_000).await;
    assert_eq!(count(&deeds(&stand_in)), count(&so_far), "the worker is there");
    // It falls silent once more, and everything is off.
    *stand_in.hands.address_is_left.lock().unwrap() = false;
    look_until(&mut stand_in, 15_000, 5_000..9_000).await;
    assert_eq!(count(&deeds(&stand_in)), count(&so_far) + 1, "{:?}", deeds(&stand_in));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_may_still_take_writes_is_killed_where_that_is_wanted_even_if_a_worker_has_just_come_back()
 {
    let killed = async |fence_hung_server, heard| {
        let mut host = Host::new(Some(LeaseOnDisk { fence_hung_server, ..lease_until(0) }));
        host.fenced = Fenced::MayWrite { pid_file: None };
        host.fencing_takes = Duration::from_secs(2);
        let mut stand_in = StandIn::new(host);
        look_until(&mut stand_in, 8_000, heard).await;
        let deeds = deeds(&stand_in);
        assert!(matches!(deeds[0], (Deed::Fence, 1000..=1100)), "{deeds:?}");
        deeds.into_iter().find(|(deed, _)| *deed == Deed::Kill)
    };
    for heard in [0..0, 2_000..8_000] {
        let kill = killed(true, heard).await;
        assert!(matches!(kill, Some((_, 3000..=3200))), "{kill:?}");
    }
    assert_eq!(killed(false, 0..0).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_while_the_host_was_being_fenced_spares_the_server() {
    let mut host = Host::new(Some(lease_until(0)));
    host.fenced = Fenced::MayWrite { pid_file: None };
    host.fencing_takes = Duration::from_secs(2);
    let mut stand_in = StandIn::new(host);
    look_until(&mut stand_in, 2_000, 0..0).await;
    *stand_in.hands.lease.lock().unwrap() = Some(lease_until(3600));
    look_until(&mut stand_in, 8_000, 0..0).await;
    assert!(matches!(deeds(&stand_in)[..], [(Deed::Fence, _)]), "{:?}", deeds(&stand_in));
}

#[tokio::test(start_paused = true)]
async fn a_fencing_that_is_under_way_is_waited_for_within_bounds() {
    let mut host = Host::new(Some(lease_until(0)));
    host.fencing_takes = Duration::from_secs(10);
    let mut stand_in = StandIn::new(host);
    look_until(&mut stand_in, 2_000, 0..0).await;
    let asked = Instant::now();
    stand_in.finish(Duration::from_secs(1)).await;
    assert_eq!(asked.elapsed().as_millis(), 1000);
    stand_in.finish(Duration::from_secs(30)).await;
    assert!(asked.elapsed() < Duration::from_secs(10), "it ends with the fencing");
}
