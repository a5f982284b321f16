//! Lines on the monitor's control port, up to the mind that obeys them.

use mmm_core::{Action, Cluster, Event, Moment};
use mmm_wire::{CONTROL_LINE_BYTES_MAX, ControlDecoder, ControlEvent};

use crate::minds;

/// The first byte says in how large pieces the others arrive. Every line is answered, or becomes a planned move.
pub fn control(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let mut decoder = ControlDecoder::new();
    let mut cluster = minds::cluster();
    let mut now = 1;
    for piece in bytes.chunks(usize::from(*first).max(1)) {
        decoder.push(piece);
        obey(&mut decoder, &mut cluster, &mut now);
    }
    decoder.half_close();
    obey(&mut decoder, &mut cluster, &mut now);
    assert!(decoder.next_event().is_none());
}

fn obey(decoder: &mut ControlDecoder, cluster: &mut Cluster, now: &mut u64) {
    while let Some(event) = decoder.next_event() {
        let ControlEvent::Line(line) = event else { continue };
        assert!(line.len() <= CONTROL_LINE_BYTES_MAX && !line.contains('\n'));
        *now += 1;
        let actions = cluster.step(Moment::from_millis(*now), Event::Commanded { client: *now, line });
        let answers = actions.iter().filter(|action| matches!(action, Action::Answer { .. })).count();
        assert_eq!(answers, 1, "{actions:?}");
    }
}
