//! Scores each line of standard input: `echo '"I love it"' | cargo run --release --example score`.
//! Each line is one text as a JSON string, so a text may contain line breaks. The output is JSON too.

use clap::{Parser, ValueEnum};
use live_sentiment::prelude::*;
use std::error::Error;
use std::io::{BufRead, BufWriter, Write};
use vader_sentiment::SentimentIntensityAnalyzer;

/// Score texts, one JSON string per line
#[derive(Parser)]
struct Arguments {
    /// Which implementation of VADER scores
    #[arg(long, value_enum, default_value_t = By::Ours)]
    by: By,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    /// This crate
    Ours,
    /// This crate, with exactly the scores of the reference implementation
    Reference,
    /// The crate `vader_sentiment`, for comparison
    VaderSentiment,
}

fn main() -> Result<(), Box<dyn Error>> {
    let by = Arguments::parse().by;
    let (ours, reference) = (Analyzer::new(), Analyzer::reference());
    let theirs = SentimentIntensityAnalyzer::new();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        match by {
            By::Ours => serde_json::to_writer(&mut out, &ours.score(&text))?,
            By::Reference => serde_json::to_writer(&mut out, &reference.score(&text))?,
            By::VaderSentiment => serde_json::to_writer(&mut out, &theirs.polarity_scores(&text))?,
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}
