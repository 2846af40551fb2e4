//! Scores each line of standard input: `echo '"I love it"' | cargo run --release --example score`.
//! A line is a text as a JSON string, so that any text fits in one; so is what comes out.

use clap::{Parser, ValueEnum};
use live_sentiment::prelude::*;
use std::error::Error;
use std::io::{BufRead, BufWriter, Write};
use vader_sentiment::SentimentIntensityAnalyzer;

#[derive(Parser)]
#[command(about = "Score texts, one JSON string a line")]
struct Arguments {
    /// What scores them.
    #[arg(long, value_enum, default_value_t = By::Ours)]
    by: By,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Ours,
    /// The crate whose lexicon we use, for comparison.
    VaderSentiment,
}

fn main() -> Result<(), Box<dyn Error>> {
    let by = Arguments::parse().by;
    let (ours, crates) = (Analyzer::new(), SentimentIntensityAnalyzer::new());
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        match by {
            By::Ours => serde_json::to_writer(&mut out, &ours.score(&text))?,
            By::VaderSentiment => serde_json::to_writer(&mut out, &crates.polarity_scores(&text))?,
        }
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}
