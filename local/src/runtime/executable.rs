//! The check of a built function before it is started.

use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::Error;

const BUILD: &str = "build it with: cargo lambda build --release";

/// Checks by the ELF header that a program exists and is built for this machine.
pub(super) fn check(program: &Path) -> Result<(), Error> {
    let fail = |reason: String| Err(Error::Function(format!("{} {reason}", program.display())));
    let mut header = [0; 20];
    match std::fs::File::open(program).and_then(|mut file| file.read_exact(&mut header)) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return fail(format!("is missing; {BUILD}")),
        Err(error) => return fail(format!("cannot be read ({error}); {BUILD}")),
    }
    // The field e_machine of the ELF specification. Both architectures are little-endian.
    let machine = match (&header[..4], u16::from_le_bytes([header[18], header[19]])) {
        (b"\x7fELF", 62) => "x86_64",
        (b"\x7fELF", 183) => "aarch64",
        _ => return fail(format!("is not a Lambda binary; {BUILD}")),
    };
    let host = std::env::consts::ARCH;
    let option = if host == "aarch64" { "--arm64" } else { "--x86-64" };
    if machine != host {
        return fail(format!("is built for {machine}, but this machine is {host}; {BUILD} {option}"));
    }
    Ok(())
}
