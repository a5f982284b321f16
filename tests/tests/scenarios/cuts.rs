//! Every kind of cut between monitor, writer and the other master, one way and both ways, alone and by twos. Only a writer that
//! neither the monitor nor the other master can reach is replaced; everything else goes unnoticed.

use std::thread;
use std::time::Duration;

use mmm_lab::{M1, M2, MON, Manner};

use crate::cluster::{ID1, ID2, SOON};
use crate::sides::{Sides, quick_sides};

/// Longer than a lease, so that a writer which had to fence itself would have done so.
const OUTAGE: Duration = Duration::from_millis(6500);

#[derive(Clone, Copy, Debug)]
enum Link {
    MonitorAndWriter,
    MonitorAndOther,
    Masters,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Both,
    /// What the first of the two sends is lost.
    There,
    /// What the second sends is lost.
    Back,
}

const WAYS: [Way; 3] = [Way::Both, Way::There, Way::Back];

/// A connection and how it is cut; the first master is the writer.
type Cut = (Link, Way);

fn make(lab: &Sides, (link, way): Cut) {
    let (first, second) = match link {
        Link::MonitorAndWriter => (MON, M1),
        Link::MonitorAndOther => (MON, M2),
        Link::Masters => (M1, M2),
    };
    match way {
        Way::Both => lab.cut(first, second, Manner::Drop).unwrap(),
        Way::There => lab.cut_one_way(first, second, Manner::Drop).unwrap(),
        Way::Back => lab.cut_one_way(second, first, Manner::Drop).unwrap(),
    };
}

fn pairs(one: Link, other: Link) -> Vec<Vec<Cut>> {
    WAYS.into_iter().flat_map(|a| WAYS.map(|b| vec![(one, a), (other, b)])).collect()
}

/// One after the other on one cluster; none of them may cost a write.
fn expect_unnoticed(name: &str, cases: &[Vec<Cut>]) {
    let mut lab = Sides::up(quick_sides(name));
    for cuts in cases {
        eprintln!("cut: {cuts:?}");
        for cut in cuts {
            make(&lab, *cut);
        }
        thread::sleep(OUTAGE);
        lab.heal_all().unwrap();
        lab.expect_pair(M1);
        for host in [M1, M2] {
            lab.wait_replicating(host, SOON).unwrap();
        }
        lab.wait_covered(SOON).unwrap();
        lab.lap().expect_undisturbed(ID1);
    }
    lab.end_clean();
}

#[test]
fn a_single_cut_of_whatever_kind_costs_no_write() {
    let links = [Link::MonitorAndWriter, Link::MonitorAndOther, Link::Masters];
    let cases: Vec<Vec<Cut>> = links.into_iter().flat_map(|link| WAYS.map(|way| vec![(link, way)])).collect();
    expect_unnoticed("cut_one", &cases);
}

#[test]
fn a_monitor_cut_off_from_both_masters_costs_no_write() {
    expect_unnoticed("cut_monitor", &pairs(Link::MonitorAndWriter, Link::MonitorAndOther));
}

#[test]
fn the_other_master_cut_off_from_everybody_costs_no_write() {
    expect_unnoticed("cut_other", &pairs(Link::MonitorAndOther, Link::Masters));
}

#[test]
fn a_writer_cut_off_from_monitor_and_other_master_is_replaced_without_overlap() {
    for cuts in pairs(Link::MonitorAndWriter, Link::Masters) {
        eprintln!("cut: {cuts:?}");
        // Both clients reach the old writer all the time, so what it writes last is on it alone: each case has its own cluster.
        let mut lab = Sides::up(quick_sides("cut_writer"));
        let at = mmm_lab::Moment::now();
        for cut in &cuts {
            make(&lab, *cut);
        }
        lab.wait_write_by(ID2, at);
        thread::sleep(Duration::from_secs(1));
        let overlap = lab.lap();
        eprintln!("first write on the other after {:?}", overlap.takeover(at));
        overlap.expect_one_writer();
        lab.heal_all().unwrap();
        lab.expect_gave_way(M1, M2);
        let overlap = lab.lap();
        overlap.expect_one_writer();
        assert_eq!((overlap.old, overlap.new), (Some(ID2), None), "{overlap}");
        lab.end_accounted();
    }
}
