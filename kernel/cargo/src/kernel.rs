//! The calling kernel: its directory, and the inputs that the results of cargo depend on.

use crate::store::{Key, Store};
use serde::{Deserialize, Serialize};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

/// The placeholder for the directory of a kernel in stored results.
const DIRECTORY: &str = "@DIRECTORY-OF-THE-KERNEL@";
/// The name of the file that switches the store off for a kernel, in its directory.
const STORE_DISABLED: &str = "store-disabled";
/// The name of the file that lists what `make setup` has compiled. Each kernel gets a copy.
const PREPARED: &str = "prepared.json";
/// Variables that do not change what is compiled.
const WITHOUT_EFFECT: [&str; 4] = [
    "RUST_BACKTRACE",
    "RUST_LOG",
    "RUST_LIB_BACKTRACE",
    "CARGO_MAKEFLAGS",
];

pub(crate) struct Kernel {
    /// The directory in which evcxr compiles the cells of this kernel.
    pub(crate) directory: PathBuf,
    /// The real cargo.
    cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    /// The user's CARGO_HOME.
    cargo_home: PathBuf,
    pub(crate) store: Store,
    /// The folder of the repository, which contains the library.
    root: PathBuf,
    /// Whether `make setup` runs this kernel to fill the store.
    pub(crate) is_setup: bool,
}

/// The inputs from which the crates in the directory of a kernel were compiled.
#[derive(Default, Deserialize, PartialEq, Serialize)]
struct Prepared {
    library: String,
    rustc: String,
    /// The hashes of the manifests, lock files and settings that occur while the notebooks run.
    states: Vec<String>,
}

/// A hash of everything that a result depends on, except the call.
pub(crate) enum State {
    /// `make setup` has compiled the crates in this state.
    Prepared(String),
    /// The crates were compiled for this kernel, for example because a cell has added one with `:dep`. Results
    /// are not stored.
    Own(String),
    /// The inputs cannot be read. Cargo does everything.
    Unknown,
}

impl State {
    pub(crate) fn hash(&self) -> &str {
        match self {
            State::Prepared(hash) | State::Own(hash) => hash,
            State::Unknown => "",
        }
    }
}

impl Kernel {
    pub(crate) fn from_environment() -> Option<Kernel> {
        let path = |name| env::var_os(name).map(PathBuf::from);
        let directory = path("EVCXR_TMPDIR")?;
        Some(Kernel {
            directory: directory.canonicalize().unwrap_or(directory),
            cargo: path("LIVE_SENTIMENT_CARGO")?,
            rustc: path("LIVE_SENTIMENT_RUSTC")?,
            cargo_home: path("LIVE_SENTIMENT_CARGO_HOME")?,
            store: Store::new(path("LIVE_SENTIMENT_STORE")?),
            root: path("LIVE_SENTIMENT_ROOT")?,
            is_setup: env::var_os("LIVE_SENTIMENT_SETUP").is_some(),
        })
    }

    /// Returns a call of the real cargo that uses the same compiled crates as `cargo run --release`. Cargo
    /// compiles a crate once more for a named target, another profile, and other `RUSTFLAGS`. `kernel/rustc`
    /// adds the flags that a cell needs.
    pub(crate) fn cargo(&self, arguments: &[String]) -> Command {
        let mut arguments = arguments.to_vec();
        if let Some(at) = arguments.iter().position(|argument| argument == "--target") {
            let end = arguments.len().min(at + 2);
            arguments.splice(at..end, ["--release".to_owned()]);
        }
        let mut command = Command::new(&self.cargo);
        command
            .args(arguments)
            .env("CARGO_HOME", &self.cargo_home)
            .env_remove("RUSTFLAGS");
        command
    }

    /// Moves evcxr's settings of a cell, such as that of `:opt`, to the profile `release`.
    pub(crate) fn use_release_profile(&self) {
        let manifest = self.directory.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap_or_default();
        if text.contains("[profile.dev]") {
            // Without the settings, the cell is optimised, which only takes longer.
            let _ = fs::write(manifest, text.replace("[profile.dev]", "[profile.release]"));
        }
    }

    /// Restores the versions of our lock file. When cargo first reads the crate of a kernel, the crate has
    /// no dependency, so cargo removes all versions. Without this function, the next call would select the
    /// newest versions, which are untested and take minutes to compile.
    pub(crate) fn restore_lock(&self) {
        let has = |file: &str, start: &str| {
            let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
            text.lines()
                .any(|line| line.trim_start().starts_with(start))
        };
        // This finds the library, and the exercises of the Lesson, which depend on the library.
        let depends = has("Cargo.toml", "live_sentiment");
        if depends && !has("Cargo.lock", "name = \"live_sentiment\"") {
            // If this fails, cargo selects the versions.
            let _ = fs::copy(
                self.root.join("Cargo.lock"),
                self.directory.join("Cargo.lock"),
            );
        }
    }

    pub(crate) fn state(&self) -> State {
        // Stored JSON contains a placeholder for the directory. This works only if JSON does not escape the
        // name of the directory.
        let name = self.directory.to_string_lossy();
        if self.directory.join(STORE_DISABLED).exists() || name.contains(['"', '\\']) {
            return State::Unknown;
        }
        let (Ok(library), Ok(rustc)) = (self.library(), identity(&self.rustc)) else {
            return State::Unknown;
        };
        let mut key = Key::new("state");
        key.add(&library)
            .add(&rustc)
            .add(&self.cargo.to_string_lossy());
        // evcxr writes the dependencies in a random order.
        let manifest = self.directory.join("Cargo.toml");
        let manifest = fs::read_to_string(manifest).unwrap_or_default();
        let mut lines: Vec<&str> = manifest.lines().collect();
        lines.sort_unstable();
        // The sources of a crate in another folder may change at any time.
        let is_local = |line: &&str| line.contains('{') && line.contains("path");
        if lines
            .iter()
            .any(|line| is_local(line) && !line.starts_with("live_sentiment"))
        {
            return State::Unknown;
        }
        key.add(&lines.join("\n"));
        let settings = [
            self.directory.join("Cargo.lock"),
            self.directory.join(".cargo/config.toml"),
            // Cargo also reads the settings of the directories above, and of the user.
            self.directory.join("../.cargo/config.toml"),
            self.cargo_home.join("config.toml"),
            self.cargo_home.join("config"),
        ];
        for file in settings {
            key.add(&fs::read_to_string(file).unwrap_or_default());
        }
        let state = key.finish();

        let file = self.directory.join(PREPARED);
        let prepared = fs::read(&file)
            .ok()
            .and_then(|json| serde_json::from_slice::<Prepared>(&json).ok())
            .filter(|prepared| prepared.library == library && prepared.rustc == rustc);
        if self.is_setup {
            let mut prepared = prepared.unwrap_or(Prepared {
                library,
                rustc,
                states: Vec::new(),
            });
            if !prepared.states.contains(&state) {
                prepared.states.push(state.clone());
                let json = serde_json::to_vec(&prepared).unwrap_or_default();
                if fs::write(&file, json).is_err() {
                    return State::Unknown;
                }
            }
            return State::Prepared(state);
        }
        match prepared {
            Some(prepared) if prepared.states.contains(&state) => State::Prepared(state),
            _ => State::Own(state),
        }
    }

    /// Returns the recorded calls of rustc. Those for the kernel's own crates are in its directory.
    pub(crate) fn calls(&self, state: &State) -> Option<Store> {
        match state {
            State::Prepared(_) => Some(self.store.clone()),
            State::Own(_) => Some(Store::new(self.directory.join("calls"))),
            State::Unknown => None,
        }
    }

    /// Returns the text of the cell.
    pub(crate) fn source(&self) -> String {
        fs::read_to_string(self.directory.join("src/lib.rs")).unwrap_or_default()
    }

    /// Disables the store for this kernel, because the crates in its directory may change.
    pub(crate) fn disable_store(&self) {
        if !self.is_setup {
            // If this fails, the state of the next call differs, and the store is not used either.
            let _ = fs::write(self.directory.join(STORE_DISABLED), "");
        }
    }

    /// Returns whether results may be read from the store. `make setup` computes all of them again.
    pub(crate) fn reads_store(&self) -> bool {
        !self.is_setup
    }

    /// Returns the key of a call. The caller adds the other inputs of the result.
    pub(crate) fn key(&self, kind: &str, state: &str, arguments: &[String]) -> Key {
        let mut key = Key::new(kind);
        key.add(state);
        for argument in arguments {
            key.add(&self.to_portable(argument));
        }
        key.add("in")
            .add(&self.to_portable(&env::current_dir().unwrap_or_default().to_string_lossy()));
        let has_effect = |name: &str| {
            (name.starts_with("CARGO") || name.starts_with("RUST"))
                && !WITHOUT_EFFECT.contains(&name)
                && !name.ends_with("_TOKEN")
        };
        let text = |value: OsString| value.to_string_lossy().into_owned();
        let mut variables: Vec<(String, String)> = env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .filter(|(name, _)| has_effect(name))
            .collect();
        variables.sort();
        for (name, value) in variables {
            key.add(&name).add(&self.to_portable(&value));
        }
        key
    }

    /// Replaces the directory of this kernel with a placeholder.
    pub(crate) fn to_portable(&self, text: &str) -> String {
        text.replace(&*self.directory.to_string_lossy(), DIRECTORY)
    }

    /// Replaces the placeholder with the directory of this kernel.
    pub(crate) fn localize(&self, text: &str) -> String {
        text.replace(DIRECTORY, &self.directory.to_string_lossy())
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.directory.join("Cargo.lock")).unwrap_or_default()
    }

    /// Writes the lock file, if it differs.
    pub(crate) fn set_lock(&self, lock: &str) -> std::io::Result<()> {
        match lock == self.lock() {
            true => Ok(()),
            false => fs::write(self.directory.join("Cargo.lock"), lock),
        }
    }

    /// Returns a hash of the sources of the library and of the Lesson's exercises.
    fn library(&self) -> std::io::Result<String> {
        let mut files = vec![self.root.join("Cargo.toml"), self.root.join("Cargo.lock")];
        files_below(&self.root.join("src"), &mut files)?;
        files_below(&self.root.join("notebooks/lesson"), &mut files)?;
        let mut key = Key::new("library");
        for file in files {
            key.add(&file.to_string_lossy())
                .add_bytes(&fs::read(&file)?);
        }
        Ok(key.finish())
    }
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        match path.is_dir() {
            true => files_below(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// Returns a text that identifies the version of a compiler. An update replaces the file, so its size or its
/// time changes.
fn identity(rustc: &Path) -> std::io::Result<String> {
    let file = fs::metadata(rustc)?;
    let age = file
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!(
        "{} {} {}",
        rustc.display(),
        file.len(),
        age.as_nanos()
    ))
}
