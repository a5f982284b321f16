//! The built `mmm_control` with `type ssl` in its `<socket>`.

// Helpers of a test may fail the test too; the lint knows only the test functions themselves.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use mmm_wire::{TlsFiles, Transport, TransportError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

const LIMIT: Duration = Duration::from_secs(5);

fn write(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A folder with an authority and the files of one host.
fn certificates() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([]).unwrap().signed_by(&key, &authority).unwrap();
    write(&dir.path().join("ca.pem"), &authority.pem());
    write(&dir.path().join("host.pem"), &certificate.pem());
    write(&dir.path().join("host.key"), &key.serialize_pem());
    dir
}

fn transport(dir: &TempDir) -> Transport {
    let file = |name: &str| dir.path().join(name);
    let files = TlsFiles { cert_file: file("host.pem"), key_file: file("host.key"), ca_file: file("ca.pem") };
    Transport::new(Some(files)).unwrap()
}

/// Runs `mmm_control show` with the certificates in `dir`.
async fn show(dir: &TempDir, port: u16) -> Output {
    let folder = dir.path().display();
    let config = format!(
        "<monitor>\n ip 127.0.0.1\n port {port}\n</monitor>\n<socket>\n type ssl\n cert_file {folder}/host.pem\n \
         key_file {folder}/host.key\n ca_file {folder}/ca.pem\n</socket>\n"
    );
    write(&dir.path().join("mmm_mon.conf"), &config);
    let mut command = Command::new(env!("CARGO_BIN_EXE_mmm_control"));
    command.arg("show").env("MMM_CONFIG_DIR", dir.path()).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.unwrap()
}

/// One client of a monitor that has a long answer.
async fn serve(port: TcpListener, transport: Transport) -> Result<String, TransportError> {
    let stream = port.accept().await.unwrap().0;
    let mut stream = transport.accept(stream, "client at C", LIMIT).await?;
    let mut request = vec![0; "show\nquit\n".len()];
    stream
        .read_exact(&mut request)
        .await
        .map_err(|source| TransportError::Broken { peer: "client at C".to_owned(), source })?;
    stream.write_all("x".repeat(300_000).as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    Ok(String::from_utf8(request).unwrap())
}

async fn listen() -> (TcpListener, u16) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let number = port.local_addr().unwrap().port();
    (port, number)
}

#[tokio::test]
async fn the_question_and_a_long_answer_travel_inside_tls() {
    let dir = certificates();
    let (port, number) = listen().await;
    let serving = tokio::spawn(serve(port, transport(&dir)));
    let output = show(&dir, number).await;
    assert_eq!(serving.await.unwrap().unwrap(), "show\nquit\n");
    assert_eq!(output.stdout.len(), 300_001);
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[tokio::test]
async fn a_monitor_that_refuses_the_certificate_or_shows_a_bad_one_is_named_with_the_reason() {
    let dir = certificates();
    let (port, number) = listen().await;
    let serving = tokio::spawn(serve(port, transport(&certificates())));
    let output = show(&dir, number).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&format!("the monitor at 127.0.0.1:{number} was refused: its certificate")),
        "{text}"
    );
    assert_eq!(output.stdout, b"ERROR: Can't connect to monitor daemon!\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(serving.await.unwrap().unwrap_err().to_string().contains("refused the certificate of this side"));
}

#[tokio::test]
async fn a_monitor_that_speaks_plain_text_is_told_from_one_that_is_away() {
    let (port, number) = listen().await;
    let serving = tokio::spawn(serve(port, Transport::Plain));
    let output = show(&certificates(), number).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("it answers in plain text") && text.contains("type ssl"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    assert!(matches!(serving.await.unwrap(), Err(TransportError::SpeaksTls { .. })));
}

#[tokio::test]
async fn a_key_that_can_not_be_used_is_named_before_anything_is_sent() {
    let dir = certificates();
    let key = dir.path().join("host.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = show(&dir, 1).await;
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("key_file {} is open to everybody", key.display())), "{text}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
}
