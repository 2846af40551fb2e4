//! The permissions of a file that holds secrets.

use std::path::Path;

/// Logs a warning if users other than the owner can read the file.
#[cfg(unix)]
pub(crate) fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let others = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    if others {
        let path = path.display();
        tracing::warn!(%path, "other users can read the file: run chmod 600 {path}");
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_others_can_read(_: &Path) {}
