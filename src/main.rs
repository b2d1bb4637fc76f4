//! The program. Everything is in the library, so that tests and the program build the same code.

use std::process::ExitCode;

/// Small and quick, and gives memory back: the system's own holds on to what a burst took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    orlop::cli::main()
}
