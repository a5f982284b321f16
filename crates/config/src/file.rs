//! Reading one file, if nobody but its owner and group may.
//!
//! Where files are looked for is not decided here.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::problem::Problem;

/// No configuration comes near this.
const LARGEST: u64 = 1024 * 1024;

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;

/// Why a file was not read, and what to do.
pub(crate) struct Refused {
    pub(crate) problem: Problem,
    pub(crate) hint: String,
}

/// Whether there is anything under that name.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether the file can be opened for reading.
pub(crate) fn is_readable(path: &Path) -> bool {
    // A pipe would block here until somebody writes.
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() || File::open(path).is_ok())
}

/// The bytes of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Refused> {
    let unreadable = |error: std::io::Error| Refused {
        problem: Problem::Unreadable { path: path.to_owned(), reason: error.to_string() },
        hint: "look at its owner, its mode and the folders above it".to_owned(),
    };
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Refused {
            problem: Problem::NotAFile { path: path.to_owned() },
            hint: "give the name of a file".to_owned(),
        });
    }
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o7777;
    let hint = format!("chmod 640 {}", path.display());
    if mode & OTHERS_WRITE != 0 {
        return Err(Refused { problem: Problem::WorldWritable { path: path.to_owned(), mode }, hint });
    }
    if mode & OTHERS_READ != 0 {
        return Err(Refused { problem: Problem::WorldReadable { path: path.to_owned(), mode }, hint });
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Refused {
            problem: Problem::FileTooLarge { path: path.to_owned() },
            hint: format!("a configuration file has at most {LARGEST} bytes"),
        });
    }
    Ok(bytes)
}
