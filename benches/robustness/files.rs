//! Mutated files for the replay, in each shape of the fuzz target's seeds.

use crate::mutate::Mutator;
use crate::{Finding, Size, thousands};
use common::{memory, root};
use flate2::Compression;
use flate2::write::GzEncoder;
use live_sentiment::prelude::*;
use live_sentiment::source::Source;
use std::io::Write;
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// The limit of the memory that the files may add, in MB.
const MEMORY_LIMIT: u64 = 64;

pub fn run(size: Size) -> Vec<Finding> {
    let mut seeds: Vec<_> = std::fs::read_dir(root().join("fuzz/corpus/replay"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    seeds.sort();
    let before = memory(std::process::id());
    let read: Vec<Read> = std::thread::scope(|scope| {
        // Two threads: a file takes longer to open than to decode.
        let halves = seeds.chunks(seeds.len().div_ceil(2));
        let threads: Vec<_> = halves
            .map(|half| scope.spawn(|| half.iter().map(|seed| read_all(seed, size)).collect()))
            .collect();
        let all: Vec<Vec<Read>> = threads.into_iter().map(|it| it.join().unwrap()).collect();
        all.into_iter().flatten().collect()
    });
    let added = memory(std::process::id()).saturating_sub(before);
    assert!(added < MEMORY_LIMIT, "{added} MB");
    let sum = |count: fn(&Read) -> usize| thousands(read.iter().map(count).sum());
    vec![Finding {
        what: format!(
            "{} mutated files of each of {} shapes to the replay",
            thousands(size.files),
            seeds.len()
        ),
        outcome: format!(
            "no panic; {} tweets, {} skipped, {} files refused; {added} MB more memory",
            sum(|read| read.tweets),
            sum(|read| read.skipped),
            sum(|read| read.refused),
        ),
    }]
}

#[derive(Default)]
struct Read {
    tweets: usize,
    skipped: usize,
    refused: usize,
}

/// Reads mutated copies of a file. One in eight is compressed, and half of these are damaged after that.
fn read_all(seed: &Path, size: Size) -> Read {
    let content = std::fs::read(seed).unwrap();
    let mut mutator = Mutator::new(5);
    let file = tempfile::NamedTempFile::new().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut read = Read::default();
    for number in 0..size.files {
        let mut bytes = content.clone();
        for _ in 0..=mutator.below(3) {
            mutator.bytes(&mut bytes);
        }
        if number % 8 == 0 {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&bytes).unwrap();
            bytes = packed.finish().unwrap();
            if number % 16 == 0 {
                mutator.bytes(&mut bytes);
            }
        }
        std::fs::write(file.path(), &bytes).unwrap();
        read_one(file.path(), &runtime, &mut read);
    }
    read
}

fn read_one(file: &Path, runtime: &Runtime, read: &mut Read) {
    let Ok(replay) = Replay::open(file) else {
        read.refused += 1;
        return;
    };
    let mut replay = replay.as_fast_as_possible();
    runtime.block_on(async {
        while let Some(item) = replay.next().await {
            match item {
                Ok(_) => read.tweets += 1,
                Err(_) => read.skipped += 1,
            }
        }
    });
}
