//! What a file of secrets must not be: readable by others.

use std::path::Path;

#[cfg(unix)]
pub(crate) fn warn_if_others_can_read(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let others = std::fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o077 != 0);
    if others {
        tracing::warn!(
            "{path} can be read by others: chmod 600 {path}",
            path = path.display()
        );
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_others_can_read(_: &Path) {}
