//! A cell that does nothing.
//!
//! In `make setup`, evcxr compiles the cells of the notebooks, but must not run them: they start a broker
//! and stream for minutes. So evcxr gets this shared object instead of the shared object of the cell.

use crate::canonical;
use crate::compiled::{self, Compiled};
use crate::kernel::Kernel;
use std::fs;
use std::io::{Error, Result};
use std::process::Command;

const FUNCTION: &str = "\
#[unsafe(no_mangle)]
pub extern \"C\" fn run_user_code_0(
x: *mut u8) -> *mut u8 {x}
";

pub(crate) fn replace(kernel: &Kernel, cell: &Compiled) -> Result<()> {
    let Some(path) = &cell.shared_object else {
        return Ok(());
    };
    let stub = kernel.directory.join("stub.so");
    if !stub.exists() {
        let source = kernel.directory.join("stub.rs");
        fs::write(&source, FUNCTION.to_owned() + &canonical::aliases(FUNCTION))?;
        let mut rustc = Command::new(&kernel.rustc);
        rustc.args(["--edition=2024", "--crate-type=cdylib", "-o"]);
        if !rustc.arg(&stub).arg(&source).status()?.success() {
            return Err(Error::other("rustc has failed"));
        }
    }
    compiled::replace(&kernel.directory.join(path), &fs::read(stub)?)
}
