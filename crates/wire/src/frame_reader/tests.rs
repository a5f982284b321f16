use std::io::Cursor;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, duplex};
use tokio::time::timeout;

use super::*;
use crate::FrameWriter;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

fn frame(json: &[u8]) -> Vec<u8> {
    let length = u32::try_from(json.len()).unwrap();
    [&length.to_be_bytes()[..], json].concat()
}

async fn read_error(bytes: &[u8]) -> FrameError {
    FrameReader::new(Cursor::new(bytes.to_vec()), "db1").next::<Value>().await.unwrap_err()
}

#[tokio::test]
async fn a_length_over_the_limit_is_refused_before_memory_is_taken_for_it() {
    let (mut sender, receiver) = duplex(64);
    sender.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let mut reader = FrameReader::new(receiver, "db1");
    let error = reader.next::<Value>().await.unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { length: 0xffff_ffff, limit: FRAME_BYTES_MAX, .. }));
    assert!(error.to_string().starts_with("db1 announced"), "{error}");
    assert!(reader.buffer.capacity() <= 2 * READ_BYTES);
}

#[tokio::test(start_paused = true)]
async fn an_announced_frame_takes_memory_only_as_its_bytes_arrive() {
    let (mut sender, receiver) = duplex(64);
    sender.write_all(&u32::try_from(FRAME_BYTES_MAX).unwrap().to_be_bytes()).await.unwrap();
    let mut reader = FrameReader::new(receiver, "db1");
    timeout(Duration::from_secs(1), reader.next::<Value>()).await.unwrap_err();
    assert!(reader.buffer.capacity() <= 2 * READ_BYTES);
}

#[tokio::test]
async fn a_frame_cut_short_and_one_that_is_no_json_are_errors_that_name_the_peer() {
    assert!(matches!(read_error(&[0, 0]).await, FrameError::CutShort { received: 2, .. }));
    assert!(matches!(read_error(&frame(b"12")[..5]).await, FrameError::CutShort { received: 5, .. }));
    for json in [&b""[..], b"{", b"\xff", b"1 2"] {
        let error = read_error(&frame(json)).await;
        assert!(matches!(error, FrameError::Decode { .. }), "{error}");
        assert!(error.to_string().starts_with("db1 sent"), "{error}");
    }
}

#[tokio::test]
async fn deeply_nested_json_is_an_error_and_not_a_stack_overflow() {
    assert!(matches!(read_error(&frame(&vec![b'['; 100_000])).await, FrameError::Decode { .. }));
}

#[tokio::test]
async fn a_message_over_the_limit_is_not_sent_and_the_connection_stays_usable() {
    let mut writer = FrameWriter::new(Cursor::new(Vec::new()), "db1");
    let error = writer.send(&"x".repeat(FRAME_BYTES_MAX)).await.unwrap_err();
    assert!(matches!(error, FrameError::TooLargeToSend { .. }));
    writer.send(&"small").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_ends_the_connection_after_the_write_limit() {
    let (stuck, _never_read) = duplex(16);
    let mut writer = FrameWriter::new(stuck, "db1");
    writer.set_limit(Duration::from_millis(700));
    let start = tokio::time::Instant::now();
    let error = writer.send(&"x".repeat(100)).await.unwrap_err();
    assert!(matches!(error, FrameError::WriteTimeout { .. }), "{error}");
    assert_eq!(start.elapsed(), Duration::from_millis(700));
    assert!(matches!(writer.send(&1).await.unwrap_err(), FrameError::WriteInterrupted { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_send_dropped_halfway_makes_later_sends_fail() {
    let (stuck, _never_read) = duplex(16);
    let mut writer = FrameWriter::new(stuck, "db1");
    timeout(Duration::from_millis(1), writer.send(&"x".repeat(100))).await.unwrap_err();
    assert!(matches!(writer.send(&1).await.unwrap_err(), FrameError::WriteInterrupted { .. }));
}

#[test]
fn memory_of_a_large_frame_is_given_back() {
    block_on(async {
        let bytes = frame(&serde_json::to_vec(&"x".repeat(200_000)).unwrap());
        let mut reader = FrameReader::new(Cursor::new(bytes), "db1");
        assert_eq!(reader.next::<String>().await.unwrap().unwrap().len(), 200_000);
        assert!(reader.buffer.capacity() <= 2 * READ_BYTES);
        assert_eq!(reader.next::<String>().await.unwrap(), None);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Reads are dropped between any two pieces, as `select!` does it.
    #[test]
    fn frames_of_any_size_arrive_whole_however_they_are_split_and_reads_dropped(
        sizes in proptest::collection::vec(prop_oneof![0_usize..40, 0_usize..30_000], 0..6),
        pieces in proptest::collection::vec(1_usize..9_000, 1..40),
    ) {
        let messages: Vec<String> = sizes.iter().map(|size| "z".repeat(*size)).collect();
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.extend(frame(&serde_json::to_vec(message).unwrap()));
        }
        let received = block_on(async {
            let (mut sender, receiver) = duplex(256 * 1024);
            let mut reader = FrameReader::new(receiver, "db1");
            let mut received = Vec::new();
            let mut rest = &bytes[..];
            for piece in pieces.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                sender.write_all(now).await.unwrap();
                rest = later;
                while let Ok(message) = timeout(Duration::from_millis(1), reader.next::<String>()).await {
                    received.push(message.unwrap().unwrap());
                }
            }
            drop(sender);
            assert_eq!(reader.next::<String>().await.unwrap(), None);
            received
        });
        prop_assert_eq!(received, messages);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        block_on(async {
            let mut reader = FrameReader::new(Cursor::new(bytes), "db1");
            while let Ok(Some(_)) = reader.next::<Value>().await {}
        });
    }
}
