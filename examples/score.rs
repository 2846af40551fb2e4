//! Scores each line of standard input: `echo '"I love it"' | cargo run --release --example score`.
//! A line is a text as a JSON string, so that any text fits in one; so is what comes out.

use live_sentiment::prelude::*;
use std::error::Error;
use std::io::{BufRead, BufWriter, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let analyzer = Analyzer::new();
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        serde_json::to_writer(&mut out, &analyzer.score(&text))?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}
