//! Files that no peer would take: each is named, with what is wrong and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mmm_wire::{TlsFileError, Transport};

use crate::authority::{Authority, Host, write};
use crate::has;

fn refused(host: &Host) -> TlsFileError {
    Transport::new(Some(host.files.clone())).unwrap_err()
}

#[test]
fn a_certificate_the_library_can_not_take_is_named_with_the_line_that_makes_a_good_one() {
    let authority = Authority::new("mmm");
    let host = authority.host("db1");
    // X.509 version 3 is written as 2, version 1 as 0; what is signed is not looked at before.
    let text = fs::read_to_string(&host.files.cert_file).unwrap();
    let mut bytes = from_pem(&text);
    let version = bytes.windows(5).position(|bytes| bytes == [0xa0, 3, 2, 1, 2]).unwrap();
    bytes[version + 4] = 0;
    write(&host.files.cert_file, to_pem(&bytes).as_bytes());
    for (host, fault) in [(host, "X.509 version 1"), (authority.as_host(), "CA:TRUE")] {
        let error = refused(&host);
        assert!(matches!(error, TlsFileError::Certificate { .. }), "{error:?}");
        let path = host.files.cert_file.display().to_string();
        let key = host.files.key_file.display().to_string();
        has(&error.to_string(), &[&path, fault, "openssl req -new -key", &key, "basicConstraints=CA:FALSE"]);
        // The line must not put a host's certificate in the place of the authority's.
        assert_eq!(error.to_string().contains(&format!("-out {path}")), fault != "CA:TRUE", "{error}");
    }
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let authority = Authority::new("mmm");
    let (host, other) = (authority.host("db1"), authority.host("db2"));
    fs::copy(&other.files.key_file, &host.files.key_file).unwrap();
    let error = refused(&host);
    assert!(matches!(error, TlsFileError::OtherKey { .. }), "{error:?}");
    has(&error.to_string(), &["cert.pem", "key.pem", "do not belong together"]);
}

#[test]
fn a_key_that_everybody_can_read_or_change_is_refused_and_one_for_a_group_is_not() {
    let host = Authority::new("mmm").host("db1");
    for mode in [0o644, 0o604, 0o602] {
        fs::set_permissions(&host.files.key_file, fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(&host);
        assert!(matches!(&error, TlsFileError::Exposed { mode: shown, .. } if *shown == mode), "{error:?}");
        has(&error.to_string(), &["chmod 600", host.files.key_file.to_str().unwrap()]);
    }
    fs::set_permissions(&host.files.key_file, fs::Permissions::from_mode(0o640)).unwrap();
    Transport::new(Some(host.files.clone())).unwrap();
}

#[test]
fn a_missing_empty_odd_or_long_file_is_named_by_its_variable() {
    let authority = Authority::new("mmm");
    for variable in ["cert_file", "key_file", "ca_file"] {
        let host = authority.host("db1");
        let path = match variable {
            "cert_file" => &host.files.cert_file,
            "key_file" => &host.files.key_file,
            _ => &host.files.ca_file,
        };
        let shown = path.to_str().unwrap();
        let long = vec![b'x'; 300_000];
        let contents: [(&[u8], &str); 3] = [
            (b"", "PEM form"),
            (b"-----BEGIN CERTIFICATE-----\nabc", "PEM form"),
            (&long, "longer than 262144 bytes"),
        ];
        for (content, fault) in contents {
            write(path, content);
            has(&refused(&host).to_string(), &[variable, shown, fault]);
        }
        fs::remove_file(path).unwrap();
        has(&refused(&host).to_string(), &["cannot read", variable, shown]);
        fs::create_dir(path).unwrap();
        has(&refused(&host).to_string(), &[variable, shown, "not a regular file"]);
    }
}

#[test]
fn a_key_behind_a_passphrase_is_named_with_the_line_that_takes_it_off() {
    let host = Authority::new("mmm").host("db1");
    for text in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    ] {
        write(&host.files.key_file, text.as_bytes());
        let error = refused(&host);
        assert!(matches!(error, TlsFileError::Encrypted { .. }), "{error:?}");
        has(&error.to_string(), &["passphrase", "openssl pkey -in"]);
    }
}

#[test]
fn no_word_of_an_error_holds_a_part_of_the_key() {
    let host = Authority::new("mmm").host("db1");
    let text = fs::read_to_string(&host.files.key_file).unwrap();
    let (secret, damaged) = (&text[40..80], text.replacen("-----END", "!----END", 1));
    write(&host.files.key_file, damaged.as_bytes());
    let error = refused(&host);
    assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    write(&host.files.key_file, text.as_bytes());
    let transport = host.transport();
    assert!(!format!("{transport:?}").contains(secret));
    assert!(host.path().is_dir());
}

fn from_pem(text: &str) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec()
}

fn to_pem(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in bytes.chunks(48) {
        for three in line.chunks(3) {
            let bits = (0..3).fold(0_usize, |bits, at| bits << 8 | usize::from(*three.get(at).unwrap_or(&0)));
            for at in 0..4 {
                let letter = char::from(LETTERS[bits >> (18 - 6 * at) & 63]);
                text.push(if at <= three.len() { letter } else { '=' });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}
