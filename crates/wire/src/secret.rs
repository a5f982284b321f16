//! The secret that monitor and agents share. It is read from a file and proved, never sent and never printed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice};

/// A shorter secret could be found by trying, since an agent proves it to whoever connects.
pub const SECRET_BYTES_MIN: usize = 16;

const SECRET_BYTES_MAX: u64 = 4096;

/// The shared secret. Its debug output is redacted and its memory is overwritten at the end.
#[derive(Debug, Clone)]
pub struct Secret(SecretSlice<u8>);

/// Why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the secret file {} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error(
        "the secret file {} is open to everybody (mode {mode:04o}); make it readable by its owner only: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "the secret in {} has {length} bytes, at least {SECRET_BYTES_MIN} are needed; make one with: head -c 32 /dev/urandom | base64",
        path.display()
    )]
    TooShort { path: PathBuf, length: usize },
    #[error("the secret file {} is longer than {SECRET_BYTES_MAX} bytes", path.display())]
    TooLong { path: PathBuf },
}

impl Secret {
    /// Reads a secret file; a newline at its end is not part of the secret.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let owned = || path.to_owned();
        let failed = |source| SecretError::Read { path: owned(), source };
        // Looked at before it is opened, because opening a FIFO waits for a writer.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(SecretError::NotAFile { path: owned() });
        }
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o006 != 0 {
            return Err(SecretError::Exposed { path: owned(), mode });
        }
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong { path: owned() });
        }
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        Self::from_bytes(bytes).map_err(|length| SecretError::TooShort { path: owned(), length })
    }

    /// A secret of these bytes, or the number of bytes when they are too few.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, usize> {
        match bytes.len() {
            length if length < SECRET_BYTES_MIN => Err(length),
            _ => Ok(Self(bytes.into())),
        }
    }

    /// Whether both are the same. For secrets of one's own: how long it takes may tell how much of them is.
    pub fn is(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn the_newline_of_an_editor_is_not_part_of_the_secret() {
        let (_dir, path) = file(b"0123456789abcdef\r\n", 0o600);
        assert_eq!(Secret::load(&path).unwrap().key(), b"0123456789abcdef");
    }

    #[test]
    fn a_file_that_everybody_can_read_or_change_is_refused_by_name() {
        for mode in [0o604, 0o602, 0o644] {
            let (_dir, path) = file(b"0123456789abcdef", mode);
            let error = Secret::load(&path).unwrap_err();
            assert!(matches!(&error, SecretError::Exposed { mode: shown, .. } if *shown == mode));
            assert!(error.to_string().contains(path.to_str().unwrap()));
        }
    }

    #[test]
    fn short_long_missing_and_odd_files_are_refused() {
        let (dir, path) = file(b"0123456789abcde\n", 0o640);
        assert!(matches!(Secret::load(&path), Err(SecretError::TooShort { length: 15, .. })));
        assert!(matches!(Secret::load(dir.path()), Err(SecretError::NotAFile { .. })));
        assert!(matches!(Secret::load(&dir.path().join("none")), Err(SecretError::Read { .. })));
        let (_dir, path) = file(&[b'x'; 5000], 0o600);
        assert!(matches!(Secret::load(&path), Err(SecretError::TooLong { .. })));
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        let secret = Secret::from_bytes(b"a very secret secret".to_vec()).unwrap();
        let shown = format!("{secret:?}");
        assert!(!shown.contains("very") && !shown.contains("118"), "{shown}");
    }
}
