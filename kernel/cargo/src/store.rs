//! The store: a folder of results. The name of each file is the hash of the inputs of its result.
//!
//! A file begins with the hash of its content. A file that does not match its hash is removed and counts
//! as missing. So after a full disk or a power failure, some cells are only compiled again. A file is
//! written under another name and then renamed, so several kernels can use the store at once.

use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

/// The maximum size of all results. A cell takes 50 kB. The least recently used results are removed.
const LIMIT: u64 = 64 << 20;
/// The version of the format of the results, which is part of each key.
const FORMAT: &str = "7";
const HASH_LENGTH: usize = 64;

#[derive(Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// Incremental hash. Each part is hashed with its length, so two different lists of parts have
/// different hashes.
pub(crate) struct Key(Sha256);

impl Key {
    pub(crate) fn new(kind: &str) -> Key {
        let mut key = Key(Sha256::new());
        key.add(FORMAT).add(kind);
        key
    }

    pub(crate) fn add(&mut self, part: &str) -> &mut Key {
        self.add_bytes(part.as_bytes())
    }

    pub(crate) fn add_bytes(&mut self, part: &[u8]) -> &mut Key {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Store {
        Store { folder }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(key);
        let content = fs::read(&path).ok()?;
        let whole = content.len() >= HASH_LENGTH
            && content[..HASH_LENGTH] == *hex(&Sha256::digest(&content[HASH_LENGTH..])).as_bytes();
        if !whole {
            // Another kernel may have removed the file already.
            let _ = fs::remove_file(&path);
            return None;
        }
        // Record the time of the last use. If that fails, the result is only removed earlier.
        let _ = File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(content[HASH_LENGTH..].to_vec())
    }

    /// Stores a result. If that fails, the result is computed again next time.
    pub(crate) fn put(&self, key: &str, content: &[u8]) {
        let own = self.folder.join(format!(".{key}.{}", std::process::id()));
        let written = fs::create_dir_all(&self.folder)
            .and_then(|()| File::create(&own))
            .and_then(|mut file| {
                file.write_all(hex(&Sha256::digest(content)).as_bytes())?;
                file.write_all(content)
            })
            .and_then(|()| fs::rename(&own, self.folder.join(key)));
        if written.is_err() {
            let _ = fs::remove_file(&own);
        }
        self.remove_oldest();
    }

    fn remove_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let file = entry.metadata().ok()?;
                Some((file.modified().ok()?, file.len(), entry.path()))
            })
            .collect();
        let mut size: u64 = files.iter().map(|(_, size, _)| size).sum();
        if size <= LIMIT {
            return;
        }
        files.sort();
        for (_, length, path) in files {
            // Remove results down to half of the limit, so that removing is rare.
            if size <= LIMIT / 2 {
                break;
            }
            let _ = fs::remove_file(path);
            size -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a store in a new folder. Each test uses a different name.
    fn store(name: &str) -> Store {
        let folder = std::env::temp_dir().join(format!("store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Store::new(folder)
    }

    #[test]
    fn a_damaged_result_is_missing() {
        let store = store("damaged");
        assert_eq!(store.get("a"), None);
        store.put("a", b"content");
        assert_eq!(store.get("a").unwrap(), b"content");
        let path = store.folder.join("a");
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(store.get("a"), None, "cut off at {length}");
            assert!(!path.exists());
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            fs::write(&path, other).unwrap();
            assert_eq!(store.get("a"), None, "changed at {at}");
        }
        store.put("a", b"content");
        assert_eq!(store.get("a").unwrap(), b"content");
        fs::remove_dir_all(&store.folder).unwrap();
    }

    #[test]
    fn the_size_is_bounded_and_the_oldest_results_go_first() {
        let store = store("bounded");
        let result = vec![7; 1 << 20];
        for number in 0..100 {
            store.put(&number.to_string(), &result);
            // The first one is used again and again.
            assert!(store.get("0").is_some(), "after {number}");
            let size: u64 = fs::read_dir(&store.folder)
                .unwrap()
                .map(|file| file.unwrap().metadata().unwrap().len())
                .sum();
            assert!(size <= LIMIT + (2 << 20), "{size}");
        }
        assert!(store.get("99").is_some());
        assert!(store.get("1").is_none());
        fs::remove_dir_all(&store.folder).unwrap();
    }

    #[test]
    fn several_writers_do_not_disturb_each_other() {
        let store = store("writers");
        std::thread::scope(|scope| {
            for content in [b"same content".as_slice(); 4] {
                let store = &store;
                scope.spawn(move || {
                    for _ in 0..200 {
                        store.put("a", content);
                        if let Some(read) = store.get("a") {
                            assert_eq!(read, content);
                        }
                    }
                });
            }
        });
        fs::remove_dir_all(&store.folder).unwrap();
    }

    #[test]
    fn a_key_depends_on_each_part_and_on_where_it_ends() {
        let key = |parts: &[&str]| {
            let mut key = Key::new("test");
            for part in parts {
                key.add(part);
            }
            key.finish()
        };
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab"]), key(&["ab", ""]));
    }
}
