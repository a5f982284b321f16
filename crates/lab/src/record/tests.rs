use super::*;

fn attempt(number: u64, start_ms: u64, end_ms: u64, server: u32) -> Attempt {
    Attempt {
        number,
        start: Moment::from_micros(start_ms * 1000),
        end: Moment::from_micros(end_ms * 1000),
        outcome: if server == 0 { Outcome::Failed } else { Outcome::Acknowledged },
        server_id: (server != 0).then_some(server),
        error: if server == 0 { "refused".to_owned() } else { String::new() },
    }
}

fn switch() -> Record {
    Record {
        attempts: vec![
            attempt(1, 0, 1, 12),
            attempt(2, 5, 6, 12),
            attempt(3, 10, 11, 0),
            attempt(4, 15, 16, 0),
            attempt(5, 100, 106, 13),
            attempt(6, 110, 111, 13),
        ],
    }
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let record = switch();
    let text: String =
        record.attempts.iter().flat_map(|attempt| [attempt.to_string(), "\n".to_owned()]).collect();
    assert_eq!(Record::parse(&text), Ok(record.clone()));
    let torn = &text[..text.len() - 3];
    assert_eq!(Record::parse(torn).unwrap().attempts.len(), 5, "a line that is being written is left out");
    assert_eq!(Record::parse("").unwrap().attempts.len(), 0);
    assert_eq!(Record::parse("1\t2\n"), Err((1, "6 fields expected, 2 found".to_owned())));
}

#[test]
fn an_error_text_cannot_break_the_line() {
    let mut odd = attempt(1, 0, 1, 0);
    odd.error = "two\nlines\tand a tab".to_owned();
    let read: Attempt = odd.to_string().parse().unwrap();
    assert_eq!(read.error, "two lines and a tab");
}

#[test]
fn the_gap_lies_between_the_last_write_before_and_the_first_after() {
    let gap = switch().gap_after(Moment::from_micros(7_000)).unwrap();
    assert_eq!((gap.from.micros(), gap.until.micros(), gap.failures), (6_000, 106_000, 2));
    assert_eq!((gap.before.unwrap().number, gap.after.unwrap().number), (2, 5));
    assert_eq!(switch().takeover(Moment::from_micros(7_000), 13), Some(Duration::from_millis(99)));
    assert_eq!(switch().takeover(Moment::from_micros(7_000), 12), None);
}

#[test]
fn a_gap_that_has_ended_before_is_not_counted() {
    let gap = switch().gap_after(Moment::from_micros(107_000)).unwrap();
    assert_eq!(gap.length(), Duration::from_millis(5));
    assert!(switch().gap_after(Moment::from_micros(111_000)).is_none());
}

#[test]
fn writes_that_never_come_back_leave_the_gap_open() {
    let mut record = switch();
    record.attempts.push(attempt(7, 200, 500, 0));
    let gap = record.gap_after(Moment::from_micros(111_000)).unwrap();
    assert!(gap.is_open());
    assert_eq!((gap.length(), gap.failures), (Duration::from_millis(389), 1));
}

#[test]
fn two_writers_at_a_time_show_as_overlap() {
    let mut record = switch();
    assert_eq!(record.overlap(12, 13), (0, Duration::ZERO));
    record.attempts.push(attempt(7, 115, 120, 12));
    record.attempts.push(attempt(8, 125, 126, 12));
    assert_eq!(record.overlap(12, 13), (2, Duration::from_millis(20)));
}
