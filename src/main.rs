//! The program. Everything is in the library, so that tests and the program build the same code.

use std::process::ExitCode;

/// Packs what lives long close together, and gives the rest back: the system's own and mimalloc held twice as much under
/// attacks of many kinds at once. Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    orlop::cli::main()
}
