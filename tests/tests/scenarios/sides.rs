//! A cluster with clients on two hosts that write all the time, so that there is one on each side of whatever is cut.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mmm_lab::{
    Builder, CLIENT, CLIENT2, ConfigFile, GATEWAY_IP, Judge, Lab, M1, M2, Moment, Probe, Record, WRITER,
    base_dir, wait_for,
};

use crate::cluster::{Cluster, ID1, ID2, QUICK_CHECKS, SOON, quick};
use crate::overlap::{Looks, Overlap};

/// Both clients together write as often as one that is alone.
const WRITE_EVERY: Duration = Duration::from_millis(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The tutorial's cluster with a second client and a gateway.
pub(crate) fn sides(name: &str) -> Builder {
    quick(name).second_client().gateway()
}

/// As [`sides`]; the monitor sees a lost host after 2 s, and asks the gateway whether its own network works.
pub(crate) fn quick_sides(name: &str) -> Builder {
    // One fault after the other on one cluster: the brake on flapping hosts would stop the test, not the fault.
    let network = format!("<monitor>\nping_ips {GATEWAY_IP}\nflap_count 10000\n</monitor>\n{QUICK_CHECKS}");
    sides(name).append(ConfigFile::Monitor, &network)
}

/// Looks at both servers and both hosts until it is told to stop.
struct Watch {
    stop: Arc<AtomicBool>,
    looks: Arc<Mutex<Looks>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(lab: &Lab) -> Self {
        let (stop, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Looks::default())));
        let lab = Lab::open(lab.dir().parent().unwrap_or(&base_dir()), lab.name()).unwrap();
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&looks));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                let mut now = *seen.lock().unwrap();
                let before = now.count;
                now.look(&lab);
                // Not counted when a report was taken meanwhile: the look began before it.
                let mut seen = seen.lock().unwrap();
                if seen.count == before {
                    *seen = now;
                }
                drop(seen);
                thread::sleep(LOOK_EVERY);
            }
        });
        Self { stop, looks, thread: Some(thread) }
    }

    fn count(&self) -> usize {
        self.looks.lock().unwrap().count
    }

    fn take(&self) -> Looks {
        self.looks.lock().unwrap().take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Its panic, if it had one, leaves no looks, which every report complains about.
            let _ = thread.join();
        }
    }
}

/// A cluster that is written to from two clients and watched.
pub(crate) struct Sides {
    watch: Watch,
    pub(crate) probes: [Probe; 2],
    from: Moment,
    cluster: Cluster,
}

impl Deref for Sides {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Sides {
    /// Makes a cluster and begins; the first master is the writer, and the second could take over.
    pub(crate) fn up(builder: Builder) -> Self {
        let mut sides = Self::watch(Cluster::up(builder));
        sides.wait_covered(SOON).unwrap();
        sides.lap();
        // The first report is to begin with the first master's writes, whatever comes next.
        for probe in &sides.probes {
            probe.wait_write(Moment::now(), SOON).unwrap();
        }
        sides
    }

    /// Begins with a cluster that is there.
    pub(crate) fn watch(cluster: Cluster) -> Self {
        let probes =
            [CLIENT, CLIENT2].map(|host| cluster.start_probe_every(host, WRITER, WRITE_EVERY).unwrap());
        Self { watch: Watch::start(&cluster), probes, from: Moment::now(), cluster }
    }

    fn report(&mut self, records: &[Record]) -> Overlap {
        let until = Moment::now();
        let overlap = Overlap::of(records, self.from, until, self.watch.take());
        self.from = until;
        eprintln!("{overlap}");
        overlap
    }

    /// What happened since the beginning or the last report. A look takes a while on a busy machine; without one it is no report.
    pub(crate) fn lap(&mut self) -> Overlap {
        let _ =
            wait_for("a look", SOON, || if self.watch.count() > 0 { Ok(()) } else { Err("none".to_owned()) });
        let records = self.probes.each_ref().map(|probe| probe.record().unwrap());
        self.report(&records)
    }

    /// The last report, and what is left: the cluster, and the records of both clients.
    fn end(mut self) -> (Overlap, Cluster, [Record; 2]) {
        let records = self.probes.each_ref().map(|probe| probe.stop().unwrap());
        let overlap = self.report(&records);
        (overlap, self.cluster, records)
    }

    /// Ends after a run in which nothing was to be lost: each write that was acknowledged is on both servers, once.
    pub(crate) fn end_clean(self) {
        let (_, cluster, records) = self.end();
        for (here, there) in [(M1, M2), (M2, M1)] {
            cluster.wait_replicating(there, SOON).unwrap();
            // After cuts there may be a lot to make good.
            cluster.wait_replicated(here, there, Duration::from_mins(1)).unwrap();
        }
        for record in records {
            let verdict = Judge::new(&cluster, record).verdict(&[M1, M2]).unwrap();
            assert!(verdict.is_clean(), "{verdict}");
        }
    }

    /// Ends after a failover: what was acknowledged is on one server at least. Replication is asynchronous, so what a lost writer
    /// had not sent yet is on that one alone.
    pub(crate) fn end_accounted(self) {
        let (_, cluster, records) = self.end();
        for record in records {
            let judge = Judge::new(&cluster, record);
            let (first, second) = (judge.lost(M1).unwrap(), judge.lost(M2).unwrap());
            eprintln!(
                "acknowledged writes that are not on {M1}: {}, not on {M2}: {}",
                first.len(),
                second.len()
            );
            let nowhere: Vec<_> = first.iter().filter(|number| second.contains(number)).collect();
            assert!(nowhere.is_empty(), "acknowledged writes that no server has: {nowhere:?}");
        }
    }

    /// Waits until a server has acknowledged a write of any client after a moment; when that was.
    pub(crate) fn wait_write_by(&self, server_id: u32, after: Moment) -> Moment {
        wait_for(&format!("a write being acknowledged by server {server_id}"), SOON, || {
            let records = self.probes.each_ref().map(|probe| probe.record().unwrap());
            let ends = records.iter().flat_map(Record::acknowledged).filter_map(|attempt| {
                (attempt.end > after && attempt.server_id == Some(server_id)).then_some(attempt.end)
            });
            ends.min().ok_or_else(|| {
                let last = records.each_ref().map(|r| r.attempts.last().map(ToString::to_string));
                format!("{last:?}")
            })
        })
        .unwrap()
    }

    /// Waits until `old` has given way to `new`: closed, without the writer's address, and its agent heard. What happened is then
    /// worth a report: somebody wrote meanwhile.
    pub(crate) fn expect_gave_way(&self, old: &str, new: &str) {
        let began = Moment::now();
        self.wait_show(&format!("{new} the writer, {old} not lost any more"), SOON, |show| {
            show.holder(WRITER) == Some(new)
                && !["HARD_OFFLINE", ""].contains(&show.state(old))
                && !show.text.contains("is not reachable")
        })
        .unwrap();
        self.expect_read_only(old, SOON);
        wait_for(&format!("{WRITER} on {new} only"), SOON, || match self.holders(WRITER).unwrap() {
            holders if holders == [new] => Ok(()),
            holders => Err(format!("{holders:?}")),
        })
        .unwrap();
        self.wait_write_by(if new == M1 { ID1 } else { ID2 }, began);
    }
}
