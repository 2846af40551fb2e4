//! The Rust kernel: evcxr_jupyter, compiled with the profile of this crate.
//!
//! `cargo install evcxr_jupyter` compiles everything with full optimisation, most of it code that
//! never runs in a notebook. `Cargo.toml` optimises what a profile of the kernel's start shows.

fn main() -> anyhow::Result<()> {
    evcxr_jupyter::main()
}
