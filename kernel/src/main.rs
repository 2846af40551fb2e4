//! The Rust kernel: evcxr_jupyter, compiled with the profile of this crate.
//!
//! `cargo install evcxr_jupyter` compiles all crates with full optimisation, although most of their code
//! never runs in a notebook. This crate optimises only the crates that run when a kernel starts, as a
//! profiler shows. `Cargo.toml` lists them.

fn main() -> anyhow::Result<()> {
    evcxr_jupyter::main()
}
